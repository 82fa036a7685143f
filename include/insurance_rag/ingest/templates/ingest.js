"use strict";
const root = document.documentElement;
document.getElementById("language").addEventListener("click", () => {
  const next = root.dataset.lang === "ko" ? "en" : "ko";
  root.dataset.lang = root.lang = next;
});
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
// A link to a page opens it.
const openTarget = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target && target.closest("details");
  if (details) {
    details.open = true;
    target.scrollIntoView();
  }
};
addEventListener("hashchange", openTarget);
openTarget();
for (const button of document.querySelectorAll("button.open-pages")) {
  button.addEventListener("click", () => {
    const pages = button.closest("section").querySelectorAll("details.page");
    const open = [...pages].some((page) => !page.open);
    for (const page of pages) page.open = open;
  });
}
