/* Refreshes the live part of a run page. When the run has ended, the page is loaded once more, with its steps and errors. */
(function () {
  "use strict";
  const EVERY = 2000, SLOWEST = 30000;
  let delay = EVERY;

  function next(live) {
    window.setTimeout(function () { poll(live); }, document.hidden ? SLOWEST : delay);
  }

  async function poll(live) {
    try {
      const answer = await fetch(live.dataset.url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (answer.redirected || answer.status === 403 || answer.status === 404) { return; }
      if (!answer.ok) { throw new Error(answer.status); }
      const body = await answer.json();
      if (!body.is_active) { window.location.reload(); return; }
      /* Someone who is about to press a button there must not have it taken away. */
      if (!live.contains(document.activeElement)) { live.innerHTML = body.html; }
      delay = EVERY;
    } catch (error) {
      delay = Math.min(delay * 2, SLOWEST);
    }
    next(live);
  }

  document.addEventListener("DOMContentLoaded", function () {
    const live = document.getElementById("rd-live");
    if (live && live.dataset.url) { next(live); }
  });
})();
