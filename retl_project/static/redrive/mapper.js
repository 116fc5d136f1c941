// The mapper: buttons that change lines fetch the new state of the form instead of the whole page, what is typed is checked
// while it is typed, fields are found by name, lines move by Alt+arrows. Without this file every button posts the form.
"use strict";
(() => {
  const form = document.getElementById("rd-mapper");
  const part = document.getElementById("rd-mapper-part");
  if (!form || !part || !window.DOMParser) return;
  const SAVING = ["save", "save_preview", "overwrite"];
  let under = null; // the request under way
  let timer = 0;

  async function ask(name, value) {
    if (under) under.abort();
    under = new AbortController();
    const data = new FormData(form);
    data.append(name, value);
    const answer = await fetch(form.action, {
      method: "POST", body: data, credentials: "same-origin", signal: under.signal, headers: { Accept: "text/vnd.redrive.part+html" },
    });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  }

  const fieldOf = (line) => line.querySelector("input[id^=field-]").value;
  const opened = () => new Set([...part.querySelectorAll(".rd-line:has(details[open])")].map(fieldOf));

  async function act(button) {
    clearTimeout(timer);
    part.setAttribute("aria-busy", "true");
    const wasOpen = opened();
    try {
      const found = await ask(button.name, button.value);
      part.replaceChildren(...found.body.childNodes);
      for (const line of part.querySelectorAll(".rd-line")) {
        if (fieldOf(line) && wasOpen.has(fieldOf(line))) line.querySelector("details").open = true;
      }
      const wanted = document.getElementById(document.getElementById("rd-focus").dataset.focus);
      if (wanted) wanted.focus();
      find();
    } catch (error) {
      if (error.name !== "AbortError") post(button); // the page itself will say what is wrong
    } finally {
      part.removeAttribute("aria-busy");
    }
  }

  function post(button) {
    const hidden = document.createElement("input");
    hidden.type = "hidden"; hidden.name = button.name; hidden.value = button.value;
    form.append(hidden);
    form.submit();
  }

  async function check() {
    try {
      const found = await ask("do", "check");
      for (const fresh of found.querySelectorAll("[data-live]")) {
        const shown = part.querySelector(`[data-live="${CSS.escape(fresh.dataset.live)}"]`);
        if (shown && !shown.contains(document.activeElement)) shown.replaceChildren(...fresh.childNodes);
      }
      find();
    } catch { /* saving says what is wrong */ }
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(check, 500);
  }

  // All fields are on the page: what does not match is hidden. Else the server looks.
  function find() {
    const box = document.getElementById("rd-find");
    if (!box || !box.dataset.all) return;
    const wanted = box.value.trim().toLowerCase();
    for (const one of part.querySelectorAll("#rd-others [data-find]")) one.hidden = !one.dataset.find.toLowerCase().includes(wanted);
  }

  form.addEventListener("submit", (event) => {
    const button = event.submitter;
    clearTimeout(timer);
    if (!button || (button.name === "do" && SAVING.includes(button.value))) return;
    event.preventDefault();
    if (document.activeElement && document.activeElement.id === "rd-find") { find(); return; }
    act(button);
  });
  form.addEventListener("input", (event) => {
    if (event.target.id === "rd-note") return;
    if (event.target.id === "rd-find" && event.target.dataset.all) { find(); return; }
    soon();
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest && event.target.closest("input, textarea, select");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const box = document.getElementById("rd-find");
      if (box) { event.preventDefault(); box.focus(); }
    }
    const line = event.target.closest && event.target.closest(".rd-line");
    if (line && event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      const button = line.querySelector(event.key === "ArrowUp" ? "[name=up]" : "[name=down]");
      event.preventDefault();
      if (button && !button.disabled) act(button);
    }
  });
})();
