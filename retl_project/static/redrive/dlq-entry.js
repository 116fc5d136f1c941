// The page of one dead letter: the row of now is read once the page is shown, the row passport once it is opened.
"use strict";
(() => {
  async function load(url) {
    const answer = await fetch(url, { credentials: "same-origin", headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    return answer.text();
  }

  const row = document.getElementById("rd-row");
  async function look(url) {
    const link = row.querySelector("[data-look]");
    const words = link ? link.textContent : "";
    if (link) { link.textContent = "Reading the warehouse…"; link.setAttribute("aria-busy", "true"); }
    try {
      const html = await load(url);
      const isInside = row.contains(document.activeElement);
      row.innerHTML = html;
      if (isInside) { const again = row.querySelector("[data-look]"); if (again) again.focus({ preventScroll: true }); }
    } catch {
      if (link) { link.textContent = words; link.removeAttribute("aria-busy"); }
    }
  }
  if (row) {
    if (row.dataset.url) look(row.dataset.url);
    row.addEventListener("click", (event) => {
      const link = event.target.closest("[data-look]");
      if (!link || !row.dataset.url || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      look(row.dataset.url);
    });
  }

  const passport = document.getElementById("rd-passport");
  if (passport) {
    passport.addEventListener("toggle", async () => {
      if (!passport.open || passport.dataset.loaded) return;
      passport.dataset.loaded = "1";
      try {
        passport.querySelector(".rd-passport-body").innerHTML = await load(passport.dataset.url);
      } catch {
        delete passport.dataset.loaded;  // the link to its own page is still there
      }
    });
  }
})();
