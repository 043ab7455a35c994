// What a link names shows itself beside the link, under the mouse or the keyboard's focus: a statement, an equation, a figure, a
// term, a source. Targets on other pages are fetched from this site; a page opened as a file shows only its own.
const SHOWN = "dt, div.proof, div.exercise, div.math, div.citation, figure";
const here = location.href.split("#")[0];
const pages = new Map([[here, document]]);
const card = Object.assign(document.createElement("div"), { id: "preview-card", className: "preview-card", role: "tooltip", hidden: true });
let waiting, wanted;
document.body.append(card);

async function pageOf(address) {
  if (!pages.has(address)) {
    const answer = address.startsWith("http") && new URL(address).origin === location.origin ? await fetch(address) : null;
    pages.set(address, answer?.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null);
  }
  return pages.get(address);
}

// A copy of what a link leads to, or nothing: without names, which would stand twice, and without links, which none could reach.
async function copyOf(link) {
  const [address, name] = link.href.split("#");
  const box = name && (await pageOf(address))?.getElementById(decodeURIComponent(name))?.closest(SHOWN);
  if (!box) return [];
  const parts = (box.matches("dt") ? [box, box.nextElementSibling] : [box]).map((part) => part.cloneNode(true));
  for (const part of parts) {
    for (const gone of part.querySelectorAll(".headerlink, button, script")) gone.remove();
    for (const inner of [part, ...part.querySelectorAll("*")]) {
      for (const attribute of ["id", "href", "tabindex"]) inner.removeAttribute(attribute);
      if (inner.getAttribute("src")) inner.src = new URL(inner.getAttribute("src"), address).href;
    }
  }
  return parts;
}

async function show(link) {
  wanted = link;
  const parts = await copyOf(link);
  if (wanted !== link || !parts.length) return;
  window.MathJax?.typesetClear?.([card]);
  card.replaceChildren(...parts);
  card.hidden = false;
  await window.MathJax?.typesetPromise?.([card]);
  const at = link.getClientRects()[0];
  const { offsetHeight: height, offsetWidth: width } = card;
  const below = at.bottom + height + 8 < innerHeight || at.top < height + 8;
  card.style.left = `${Math.max(8, Math.min(at.left, document.documentElement.clientWidth - width - 8)) + scrollX}px`;
  card.style.top = `${(below ? at.bottom + 4 : at.top - height - 4) + scrollY}px`;
  link.setAttribute("aria-describedby", card.id);
}

function hide() {
  clearTimeout(waiting);
  wanted?.removeAttribute("aria-describedby");
  wanted = undefined;
  card.hidden = true;
}

const later = (act) => (clearTimeout(waiting), (waiting = setTimeout(act, 250)));
for (const link of document.querySelectorAll(".bd-article a.internal[href*='#']")) {
  link.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && later(() => show(link)));
  link.addEventListener("pointerleave", () => later(hide));
  link.addEventListener("focus", () => link.matches(":focus-visible") && show(link));
  link.addEventListener("blur", hide);
}
card.addEventListener("pointerenter", () => clearTimeout(waiting));
card.addEventListener("pointerleave", () => later(hide));
document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
