// Keys for the links, buttons and fields of the page. Every action also works without this script.
(() => {
  "use strict";
  const typing = (element) => /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName) && element.type !== "file";
  // With a Korean input method, `key` is a Korean letter or "Process". `code` then names the key itself.
  const name = (event) => {
    if (event.key.length === 1 && event.key.charCodeAt(0) < 128) return event.key.toLowerCase();
    return /^Key[A-Z]$/.test(event.code) ? event.code[3].toLowerCase() : event.key;
  };
  let sent = false;
  document.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    if (event.target.method === "post") sent = true;
  });
  addEventListener("pageshow", () => { sent = false; });
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    if (typing(at)) {
      if (event.key === "Escape") {
        const cancel = document.querySelector('[data-key="Escape"]');
        if (cancel) cancel.click(); else at.blur();
      } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && at.form) {
        at.form.requestSubmit();
      } else return;
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = document.querySelector(`[data-key="${CSS.escape(name(event))}"]`);
    if (!target) return;
    event.preventDefault();
    if (target.tagName === "INPUT") target.focus(); else target.click();
  });
  for (const select of document.querySelectorAll(".filters select")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
  document.querySelector("[autofocus]")?.focus();
})();
