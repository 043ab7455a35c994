// An equation or table that scrolls sideways must be reachable from the keyboard; one that fits must not be a tab stop.
function markScrollable() {
  const boxes = document.querySelectorAll(
    ".bd-article div.math, .bd-article mjx-container, .bd-article .output, .bd-article pre",
  );
  for (const box of boxes) {
    if (box.scrollWidth > box.clientWidth + 1) box.setAttribute("tabindex", "0");
    else if (box.getAttribute("tabindex") === "0") box.removeAttribute("tabindex");
  }
}

// The theme labels these buttons with other words than they show, which confuses voice control.
for (const button of document.querySelectorAll(".search-button-field, .theme-switch-button")) {
  button.removeAttribute("aria-label");
}

window.addEventListener("load", async () => {
  if (window.MathJax?.startup?.promise) await window.MathJax.startup.promise;
  markScrollable();
  window.addEventListener("resize", markScrollable);
});
