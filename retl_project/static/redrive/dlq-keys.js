// The keyboard of the dead letter pages. It only presses what is on the page: links, ticks and buttons.
"use strict";
(() => {
  const rows = Array.from(document.querySelectorAll(".rd-entries tbody tr")).filter((row) => row.querySelector(".rd-key a"));
  const help = document.getElementById("rd-keys");
  const button = document.getElementById("rd-keys-button");
  const power = document.getElementById("rd-keys-on");
  let current = -1;
  let isOn = true;  // people who speak to their computer, or hit keys by chance, switch it off
  try { isOn = window.localStorage.getItem("rd-keys") !== "off"; } catch { /* a browser that keeps nothing: on */ }

  const isTyping = (target) =>
    target.closest("input:not([type=checkbox]):not([type=radio]):not([type=submit]), textarea, select, [contenteditable]") !== null;
  const linkOf = (row) => row.querySelector(".rd-key a");
  const tickOf = (row) => row.querySelector("input[name=entry]");

  function here() {
    const focused = rows.findIndex((row) => row.contains(document.activeElement));
    if (focused >= 0) current = focused;
    return current;
  }

  function move(by) {
    if (!rows.length) return false;
    const from = here();
    current = from < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(from + by, 0), rows.length - 1);
    linkOf(rows[current]).focus({ preventScroll: true });
    rows[current].scrollIntoView({ block: "nearest" });
    return true;
  }

  function tick() {
    const row = rows[here()];
    if (!row || !tickOf(row) || tickOf(row).disabled) return false;
    tickOf(row).click();
    return true;
  }

  function open() {
    const row = rows[here()];
    if (!row) return false;
    linkOf(row).click();
    return true;
  }

  function press(key) {
    const wanted = document.querySelector(`.rd-bulkbar button[data-key="${key}"]`);
    if (!wanted) return false;
    const across = document.querySelector("#rd-bulk input[name=across]");
    const isChosen = across.checked || rows.some((row) => tickOf(row) && tickOf(row).checked);
    if (!isChosen && !tick()) { wanted.focus(); return true; }
    wanted.click();
    return true;
  }

  function follow(rel) {
    const link = document.querySelector(`#content a[rel~=${rel}]`);
    if (!link) return false;
    link.click();
    return true;
  }

  function search() {
    const box = document.getElementById("rd-q");
    if (!box) return false;
    box.focus();
    box.select();
    return true;
  }

  function ask() {
    if (!help) return false;
    if (help.open) help.close(); else help.showModal();
    return true;
  }

  function tickAll() {
    const all = document.getElementById("rd-all");
    if (!all || all.disabled) return false;
    all.click();
    return true;
  }

  const KEYS = {
    j: () => move(1), k: () => move(-1), x: tick, o: open, "*": tickAll, "/": search, "?": ask,
    n: () => follow("next"), p: () => follow("prev"),
  };

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (!isOn || isTyping(event.target) || (help && help.open && event.key !== "?")) return;
    const work = KEYS[event.key] || (/^[a-z]$/.test(event.key) ? () => press(event.key) : null);
    if (work && work()) event.preventDefault();
  });

  if (button && help) {
    button.hidden = false;
    power.checked = isOn;
    power.addEventListener("change", () => {
      isOn = power.checked;
      try { window.localStorage.setItem("rd-keys", isOn ? "on" : "off"); } catch { /* for this page only, then */ }
    });
    button.addEventListener("click", ask);
    help.addEventListener("click", (event) => { if (event.target === help) help.close(); });
  }
})();
