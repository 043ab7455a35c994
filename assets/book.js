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

// A displayed equation that is a little too wide becomes a little smaller; one that is much too wide scrolls.
function fitEquations() {
  const boxes = [...document.querySelectorAll(".bd-article mjx-container[display='true']")];
  for (const box of boxes) box.style.fontSize = "";
  const ratios = boxes.map((box) => box.clientWidth / (box.querySelector("svg")?.getBoundingClientRect().width || 1));
  boxes.forEach((box, index) => {
    if (ratios[index] > 0 && ratios[index] < 1) box.style.fontSize = `${Math.max(ratios[index] * 0.99, 0.75) * 100}%`;
  });
}

// A comma or full stop stays on the line of the formula before it.
function keepPunctuation() {
  for (const box of document.querySelectorAll(".bd-article span.math")) {
    const next = box.nextSibling;
    const mark = next?.nodeType === Node.TEXT_NODE && /^[,.;:!?)\]’”]+/.exec(next.data);
    if (!mark) continue;
    next.splitText(mark[0].length);
    const kept = document.createElement("span");
    kept.className = "kept-together";
    box.before(kept);
    kept.append(box, next);
  }
}

// What a link leads to may lie in a fold: every fold around it opens, and the page moves there.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const closed = ".toggle-hidden, details:not([open])";
  const folds = [];
  for (let box = target?.closest(closed); box; box = box.parentElement.closest(closed)) folds.push(box);
  for (const box of folds) {
    if (box.matches("details")) box.open = true;
    else box.querySelector("button.toggle-button")?.click();
  }
  if (folds.length) target.scrollIntoView();
}

window.addEventListener("hashchange", openTarget);
// A second click on the same link changes no address.
document.addEventListener("click", (event) => {
  if (event.target.closest?.("a[href*='#']")?.href === location.href) openTarget();
});

// The theme labels these buttons with other words than they show, which confuses voice control.
for (const button of document.querySelectorAll(".search-button-field, .theme-switch-button")) {
  button.removeAttribute("aria-label");
}

window.addEventListener("load", async () => {
  if (window.MathJax?.startup?.promise) await window.MathJax.startup.promise;
  keepPunctuation();
  const lay = () => {
    fitEquations();
    markScrollable();
  };
  // A fold that opens changes the size of the article, and so does the window.
  new ResizeObserver(() => requestAnimationFrame(lay)).observe(document.querySelector(".bd-article") ?? document.body);
  openTarget();
});
