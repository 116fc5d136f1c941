// Ticking a page of rows at once. Everything else on the list works without this file.
"use strict";
(() => {
  const form = document.getElementById("rd-bulk");
  if (!form) return;
  const all = document.getElementById("rd-all");
  const across = form.querySelector("input[name=across]");
  const rows = Array.from(form.querySelectorAll("input[name=entry]"));
  const said = form.querySelector(".rd-ticked");
  const show = () => {
    const ticked = rows.filter((row) => row.checked).length;
    all.checked = ticked === rows.length && ticked > 0;
    all.indeterminate = ticked > 0 && ticked < rows.length;
    said.textContent = across.checked ? "" : `${ticked} of ${rows.length} on this page ticked`;
    rows.forEach((row) => { row.disabled = across.checked; });
    all.disabled = across.checked;
  };
  all.hidden = false;
  all.addEventListener("change", () => { rows.forEach((row) => { row.checked = all.checked; }); show(); });
  across.addEventListener("change", show);
  rows.forEach((row) => row.addEventListener("change", show));
  window.addEventListener("pageshow", show);
  show();
})();
