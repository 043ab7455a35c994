// How Sphinx's search weighs what it finds: a heading with every word of the query first, numbers too, which Sphinx itself leaves
// out; then chapters before other pages; functions of the package last.
const wordsOf = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
const queried = wordsOf(new URLSearchParams(location.search).get("q") ?? "");

var Scorer = {
  score: ([docname, title, anchor, descr, score]) => {
    const heading = wordsOf(title.split(" > ").pop().replace(/^[\d.]+\s/, ""));
    const named = queried.every((word) => heading.includes(word));
    const chapter = /^chapters\/(ridge|dual|bridge)\//.test(docname);
    return score + (named ? 15 : 0) + (chapter ? 20 : 0);
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
