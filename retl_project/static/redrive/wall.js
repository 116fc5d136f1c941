/* Wall screen: takes the page anew every minute. When that fails the old figures stay, and the page says how old they are. */
(function () {
  "use strict";

  async function refresh(wall) {
    const stale = document.getElementById("rd-wall-stale");
    try {
      const answer = await fetch(window.location.href, { credentials: "same-origin", cache: "no-store" });
      if (!answer.ok || answer.redirected) { throw new Error(answer.status); }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("rd-wall");
      if (!fresh) { throw new Error("no wall"); }
      wall.replaceWith(fresh);
      stale.hidden = true;
      wall = fresh;
    } catch (error) {
      stale.hidden = false;
    }
    window.setTimeout(function () { refresh(wall); }, Number(wall.dataset.seconds) * 1000);
  }

  document.addEventListener("DOMContentLoaded", function () {
    const wall = document.getElementById("rd-wall");
    if (wall) { window.setTimeout(function () { refresh(wall); }, Number(wall.dataset.seconds) * 1000); }
  });
})();
