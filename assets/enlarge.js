// A figure in the size of the window: by a click on its picture, or by the button in its corner, which the keyboard reaches too.
// Escape, the button and a click beside the picture close it; the browser gives the focus back. On a phone the picture keeps a
// readable size and scrolls.
const stage = Object.assign(document.createElement("dialog"), { className: "enlarged" });
const shut = Object.assign(document.createElement("button"), { type: "button", textContent: "Close" });
shut.addEventListener("click", () => stage.close());
stage.addEventListener("click", (event) => event.target !== shut && !event.target.closest(".enlarged-words") && stage.close());

function enlarge(picture, name) {
  const copy = Object.assign(document.createElement("img"), { src: picture.src, alt: picture.alt });
  const words = picture.closest("figure").querySelector("figcaption")?.cloneNode(true) ?? document.createElement("p");
  words.className = "enlarged-words";
  for (const gone of words.querySelectorAll(".headerlink")) gone.remove();
  for (const part of [words, ...words.querySelectorAll("*")]) for (const key of ["id", "href", "tabindex"]) part.removeAttribute(key);
  stage.setAttribute("aria-label", name);
  stage.replaceChildren(shut, copy, words);
  stage.showModal();
}

for (const picture of document.querySelectorAll(".bd-article figure img:not(.hand-still)")) {
  const name = picture.closest("figure").querySelector(".caption-number")?.textContent.trim() ?? "Figure";
  const button = Object.assign(document.createElement("button"), { type: "button", className: "enlarge", textContent: "⤢" });
  button.setAttribute("aria-label", `Enlarge ${name}`);
  const frame = Object.assign(document.createElement("span"), { className: "enlargeable" });
  for (const part of [button, picture]) part.addEventListener("click", () => enlarge(picture, name));
  picture.before(frame);
  frame.append(picture, button);
}
document.body.append(stage);
