// The confirmation of a reprocess: looks into the warehouse once the page is shown, and asks for the acknowledgement only
// where what is chosen needs it. Without this file a button does the first, and the server says the second.
"use strict";
(() => {
  const form = document.getElementById("rd-confirm");
  const rows = document.getElementById("rd-rows");
  const ask = document.getElementById("rd-acknowledgement");
  if (!form || !rows || !ask) return;

  let looking = null; // while a look is under way: what it is waited for by
  const show = () => {
    const notice = ask.querySelector("[data-modes]");
    const mode = form.querySelector("input[name=mode]:checked");
    if (notice && mode) notice.hidden = Boolean(looking) || !notice.dataset.modes.split(" ").includes(mode.value);
  };
  const fill = (body) => {
    const box = ask.querySelector("input[name=acknowledged]");
    const isTicked = Boolean(box && box.checked);
    form.elements.token.value = body.token;
    rows.innerHTML = body.rows;
    ask.innerHTML = body.acknowledgement;
    const fresh = ask.querySelector("input[name=acknowledged]");
    if (fresh) fresh.checked = isTicked;
    show();
  };
  const look = async () => {
    const said = rows.querySelector(".rd-looking");
    const button = rows.querySelector("button");
    if (said) said.textContent = "Looking into the warehouse…";
    if (button) button.hidden = true;
    const data = new FormData();
    for (const name of ["csrfmiddlewaretoken", "token"]) data.set(name, form.elements[name].value);
    const mode = form.querySelector("input[name=mode]:checked");
    if (mode) data.set("mode", mode.value);
    try {
      const answer = await fetch(rows.dataset.url, {
        method: "POST", body: data, headers: { Accept: "application/json" }, credentials: "same-origin",
      });
      const body = await answer.json();
      if (!answer.ok) throw new Error(body.message);
      fill(body);
    } catch (error) {
      if (said) said.textContent = "It could not be looked at.";
      if (button) button.hidden = false;
    }
    looking = null;
    show();
  };
  // Who is quicker than the look waits for it: it may find that nothing needs to be acknowledged.
  const wait = async (event) => {
    if (!looking || (event.submitter && event.submitter.formNoValidate)) return;
    event.preventDefault();
    await looking;
    const notice = ask.querySelector("[data-modes]");
    const box = ask.querySelector("input[name=acknowledged]");
    if (notice && !notice.hidden && box && !box.checked) box.focus();
    else form.requestSubmit(event.submitter);
  };

  form.addEventListener("change", show);
  form.addEventListener("submit", wait);
  window.addEventListener("pageshow", show);
  if (rows.dataset.wanted) looking = look();
  show();
})();
