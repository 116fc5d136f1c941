// The dead letter list: ticking, popovers that close, finding an option, clean addresses. Everything works without this file.
"use strict";
(() => {
  // --- ticking
  const form = document.getElementById("rd-bulk");
  const all = document.getElementById("rd-all");
  if (form && all) {
    const across = form.querySelector("input[name=across]");
    const rows = Array.from(form.querySelectorAll("input[name=entry]"));
    const said = form.querySelector(".rd-ticked");
    let last = null;
    const show = () => {
      const ticked = rows.filter((row) => row.checked).length;
      all.checked = ticked === rows.length && ticked > 0;
      all.indeterminate = ticked > 0 && ticked < rows.length;
      said.textContent = across.checked || !ticked ? "" : `${ticked} of ${rows.length} on this page ticked`;
      rows.forEach((row) => { row.disabled = across.checked; });
      all.disabled = across.checked;
    };
    all.hidden = false;
    all.addEventListener("change", () => { rows.forEach((row) => { row.checked = all.checked; }); show(); });
    across.addEventListener("change", show);
    rows.forEach((row, index) => {
      row.addEventListener("click", (event) => {  // with Shift: all from the last one
        if (event.shiftKey && last !== null) {
          rows.slice(Math.min(last, index), Math.max(last, index) + 1).forEach((one) => { one.checked = row.checked; });
        }
        last = index;
        show();
      });
      row.addEventListener("change", show);
    });
    window.addEventListener("pageshow", show);
    show();
  }

  // --- the shown view, where there are more views than fit
  const shown = document.querySelector(".rd-views [aria-current]");
  if (shown) shown.parentElement.scrollLeft = shown.offsetLeft + shown.offsetWidth - shown.parentElement.clientWidth + 40;

  // --- popovers
  const popovers = Array.from(document.querySelectorAll("details[name=fbar]"));
  document.addEventListener("click", (event) => {
    popovers.forEach((one) => { if (one.open && !one.contains(event.target)) one.open = false; });
  });
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && popovers.find((one) => one.open);
    if (open) { open.open = false; open.querySelector("summary").focus(); }
  });
  document.querySelectorAll(".rd-find").forEach((box) => {
    const labels = Array.from(box.parentElement.querySelectorAll(".rd-options label"));
    box.hidden = false;
    box.addEventListener("input", () => {
      const wanted = box.value.trim().toLowerCase();
      labels.forEach((one) => { one.hidden = !one.querySelector("bdi").textContent.toLowerCase().includes(wanted); });
    });
    box.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
    if (box.parentElement.classList.contains("rd-popover")) {
      box.closest("details").addEventListener("toggle", (event) => { if (event.target.open) box.focus(); });
    }
  });

  // --- an address without empty parameters
  const filter = document.getElementById("rd-filter");
  if (filter) {
    filter.addEventListener("submit", () => {
      const empty = Array.from(filter.elements).filter((one) => one.name && !one.value && !one.disabled);
      empty.forEach((one) => { one.disabled = true; });
      window.setTimeout(() => empty.forEach((one) => { one.disabled = false; }), 0);
    });
  }
})();
