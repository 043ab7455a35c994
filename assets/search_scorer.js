// How Sphinx's search weighs what it finds: a heading with every word of the query first, numbers too, which Sphinx itself leaves
// out; then chapters before other pages, those that introduce a term before those that build on it; functions of the package last.
const wordsOf = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
const queried = wordsOf(new URLSearchParams(location.search).get("q") ?? "");

var Scorer = {
  score: ([docname, title, anchor, descr, score]) => {
    const heading = wordsOf(title.split(" > ").pop().replace(/^[\d.]+\s/, ""));
    const named = queried.every((word) => heading.includes(word));
    const part = docname.match(/^chapters\/(ridge|dual|bridge)\//)?.[1];
    return score + (named ? 15 : 0) + ({ ridge: 20, dual: 20, bridge: 14 }[part] ?? 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 0, 1: -5, 2: -10 },
  objPrioDefault: -10,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};

// What a result shows is read by people: no TeX, no table of contents, no code, and not its own title once more.
const LETTERS = {
  alpha: "α", beta: "β", gamma: "γ", Gamma: "Γ", delta: "δ", Delta: "Δ", epsilon: "ϵ", varepsilon: "ε", zeta: "ζ", eta: "η",
  theta: "θ", kappa: "κ", lambda: "λ", mu: "μ", nu: "ν", xi: "ξ", pi: "π", rho: "ρ", sigma: "σ", Sigma: "Σ", tau: "τ",
  phi: "φ", omega: "ω", le: "≤", ge: "≥", ne: "≠", ll: "≪", approx: "≈", sim: "∼", in: "∈", to: "→", cdot: "·", times: "×",
  pm: "±", sum: "∑", sqrt: "√", infty: "∞", top: "ᵀ", star: "*", dots: "…", ldots: "…", lVert: "‖", rVert: "‖", ell: "ℓ",
};
const plain = (tex) =>
  tex
    .replace(/\\[()[\],;:! ]/g, " ")
    .replace(/\\([a-zA-Z]+)/g, (_, name) => LETTERS[name] ?? "")
    .replace(/[\\{}^_$&]/g, "")
    .replace(/\s+/g, " ");
const toText = Search.htmlToText;
const takeIndex = Search.setIndex;

Search.htmlToText = (html, anchor) => {
  const page = new DOMParser().parseFromString(html, "text/html");
  const all = (selector) => page.querySelectorAll(selector);
  for (const box of all("#jb-print-docs-body, .bd-header-article, nav, h1, .cell_input, summary, div.math")) box.remove();
  for (const box of all(".math")) box.textContent = plain(box.textContent);
  const text = (of) => toText(page.documentElement.outerHTML, of).replace(/\s+/g, " ").trim();
  const part = anchor && page.querySelector(`[role="main"] ${anchor}`) ? text(anchor) : "";
  return part || text(null) || " "; // an index entry's anchor holds nothing; Sphinx stumbles over no text
};

Search.setIndex = (index) => {
  index.titles = index.titles.map(plain);
  index.alltitles = Object.fromEntries(Object.entries(index.alltitles).map(([title, places]) => [plain(title), places]));
  takeIndex(index);
};
