// The scorecard's filters: they live in the address, so that a selection can be linked to. Without this script all claims show.
const form = document.querySelector(".scorecard-filter");
const cards = [...document.querySelectorAll(".bd-article .claim")];
const texts = new Map(cards.map((card) => [card, card.textContent.toLowerCase()])); // before TeX is typeset
const chapters = [...document.querySelectorAll(".bd-article section:has(> .claim, section > .claim)")];

function select() {
  const wanted = new FormData(form);
  const words = wanted.get("text").toLowerCase().split(/\s+/);
  for (const card of cards) {
    const fits = ["verdict", "kind", "source", "paper"].every((key) => ["", card.dataset[key]].includes(wanted.get(key)));
    card.hidden = !(fits && words.every((word) => texts.get(card).includes(word)));
  }
  for (const chapter of chapters) chapter.hidden = !chapter.querySelector(".claim:not([hidden])");
  const count = cards.filter((card) => !card.hidden).length;
  form.querySelector("output").textContent = `${count} of ${cards.length} claims`;
  const query = new URLSearchParams([...wanted].filter(([, value]) => value)).toString();
  history.replaceState(null, "", (query ? `?${query}` : location.pathname.split("/").pop()) + location.hash);
}

for (const [name, value] of new URLSearchParams(location.search)) {
  if (form.elements[name]) form.elements[name].value = value;
}
form.hidden = false;
form.addEventListener("input", select);
form.addEventListener("submit", (event) => event.preventDefault());
select();
