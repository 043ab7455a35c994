// What a reader would stumble over on the page at hand. Each function returns a list of faults, one line each.
window.look = (() => {
  const article = document.querySelector(".bd-article") ?? document.body;
  const seen = (text) => text.trim().replace(/\s+/g, " ").slice(0, 70);
  const all = (selector, root = article) => [...root.querySelectorAll(selector)];
  const name = (box) => `${box.tagName.toLowerCase()}${box.id ? `#${box.id}` : ""}.${[...box.classList].join(".")}`;
  const scrolls = (box) => ["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(box).overflowX);

  function unfold() {
    for (const fold of all("details")) fold.open = true;
    for (const fold of all(".toggle-hidden")) fold.classList.remove("toggle-hidden");
  }

  function tex() {
    const notProse = "code, pre, script, style, svg, math, mjx-container, textarea, .MathJax_Preview";
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    // MathJax prints a command that it does not know in red, and goes on.
    const faults = all('mjx-merror, [data-mjx-error], mtext[mathcolor="red"]').map((box) => `TeX error: ${seen(box.textContent)}`);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (!/[$\\]/.test(node.data) || node.parentElement.closest(notProse)) continue;
      faults.push(`TeX is left: ${seen(node.data.slice(Math.max(0, node.data.search(/[$\\]/) - 20)))}`);
    }
    return faults;
  }

  function ids() {
    const count = new Map();
    for (const box of document.querySelectorAll("[id]")) count.set(box.id, (count.get(box.id) ?? 0) + 1);
    return [...count].filter(([, times]) => times > 1).map(([id, times]) => `id ${id} stands ${times} times`);
  }

  function outputs() {
    const failed = all(".cell_output :is(.traceback, .stderr)").map((box) => `error output: ${seen(box.textContent)}`);
    const values = all(".cell_output :is(.stream pre, .text_plain pre)");
    const empty = values.filter((box) => /(^|[^\w])nan($|[^\w])/i.test(box.textContent));
    return [...failed, ...empty.map((box) => `nan in an output: ${seen(box.textContent)}`)];
  }

  // What a program writes and no reader wants: raw values, names of columns, and more rows than one looks at.
  function tables() {
    const prose = (box) => {
      const copy = box.cloneNode(true);
      for (const part of copy.querySelectorAll("code, .math, mjx-container")) part.remove();
      return copy.textContent;
    };
    const values = all("td, th").filter((box) => /(^|[^\w])(nan|inf|True|False)($|[^\w])/.test(prose(box)));
    const names = all("th").filter((box) => /[a-z0-9]_[a-z0-9]/i.test(prose(box)));
    const long = all(".cell_output table").filter((box) => box.querySelectorAll("tr").length > 13 && !box.closest("details"));
    return [
      ...values.map((box) => `raw value in a table: ${seen(box.textContent)}`),
      ...names.map((box) => `raw name over a column: ${seen(box.textContent)}`),
      ...long.map((box) => `table of ${box.querySelectorAll("tr").length} rows, none folded: ${seen(box.textContent)}`),
    ];
  }

  function images() {
    return all("img").filter((box) => !box.alt.trim()).map((box) => `image without a text: ${box.getAttribute("src").slice(-40)}`);
  }

  function sideways() {
    const room = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= room + 1) return [];
    const held = (box) => {
      for (let up = box.parentElement; up && up !== document.body; up = up.parentElement) if (scrolls(up)) return true;
      return false;
    };
    const wide = all("*", document.body).filter((box) => box.getBoundingClientRect().right > room + 1 && !held(box));
    const inner = wide.filter((box) => !wide.some((other) => other !== box && box.contains(other)));
    return [`the page is ${document.documentElement.scrollWidth} px wide: ${inner.slice(0, 3).map(name).join(", ")}`];
  }

  function cut() {
    const over = (box, inner) => Math.round(inner - box.clientWidth);
    const said = (box) => seen((box.querySelector("mjx-assistive-mml") ?? box).textContent);
    const faults = [];
    for (const box of all("mjx-container")) {
      const lost = over(box, box.querySelector("svg")?.getBoundingClientRect().width ?? box.scrollWidth);
      const kind = box.hasAttribute("display") ? "equation" : "formula in a line";
      if (box.clientWidth && lost > 1) faults.push(`${kind} is cut by ${lost} px: ${said(box)}`);
    }
    for (const box of all("div.highlight pre")) {
      if (over(box, box.scrollWidth) > 1) faults.push(`code is cut by ${over(box, box.scrollWidth)} px: ${seen(box.textContent)}`);
    }
    return faults;
  }

  // For a page that is laid out for paper: nothing pale, nothing cut.
  function paper() {
    const light = (colour) => colour.match(/[\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 765;
    const texts = all("p, li, td, dt, h2, pre, pre span, mjx-container").filter((box) => box.textContent.trim() && box.getClientRects().length);
    const pale = texts.filter((box) => light(getComputedStyle(box).color) > 0.6);
    const long = all("pre").filter((box) => box.clientWidth && box.scrollWidth > box.clientWidth + 1);
    return [
      ...pale.slice(0, 3).map((box) => `on paper ${name(box)} is pale: ${seen(box.textContent)}`),
      ...long.map((box) => `on paper code is cut: ${seen(box.textContent)}`),
    ];
  }

  // Texts of each look, in every theme that was asked for: colour, size, weight, and all that lies behind. To compare the
  // colours of all texts of a page takes minutes; those that look the same have the same contrast.
  const kept = new Set();

  function keepLooks() {
    const behind = new Map();
    const ground = (box) => {
      if (!box) return "";
      if (!behind.has(box)) {
        const { backgroundColor, backgroundImage, opacity } = getComputedStyle(box);
        const own = [/, 0\)$/.test(backgroundColor) ? "" : backgroundColor, backgroundImage === "none" ? "" : backgroundImage, opacity];
        behind.set(box, `${ground(box.parentElement)}|${own}`.replaceAll("|,,1", ""));
      }
      return behind.get(box);
    };
    // axe-core does not judge a single sign.
    const worded = (box) => [...box.childNodes].some((part) => part.nodeType === Node.TEXT_NODE && part.data.trim().length > 1);
    const found = new Set();
    for (const box of all(":not(mjx-container *, script, style)", document.body)) {
      if (!worded(box) || !box.getClientRects().length) continue;
      const { color, fontSize, fontWeight } = getComputedStyle(box);
      const look = [color, fontSize, fontWeight, ground(box)].join();
      if (!found.has(look)) kept.add(box);
      found.add(look);
    }
  }

  // What nobody asks about any more, so that axe-core need not lay it out: glyphs of formulas, and words of code.
  function thin() {
    for (const box of all("mjx-container > *")) box.replaceChildren();
    for (const box of all("pre *")) if (!kept.has(box) && !box.querySelector("*")) box.remove();
  }

  async function axeFinds(where, how) {
    const { violations } = await axe.run(where, { ...how, preload: false, resultTypes: ["violations"] });
    const words = ({ any, all, none }) => [...any, ...all, ...none][0]?.message ?? "";
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => [id, String(node.target), words(node)]));
  }

  // What axe-core finds, [rule, place, words] each: against these levels of WCAG, the contrast of texts aside; and that.
  const access = (levels) => axeFinds(document, { runOnly: levels, rules: { "color-contrast": { enabled: false } } });
  const contrast = () => axeFinds({ include: [...kept] }, { runOnly: ["color-contrast"] });

  return { unfold, keepLooks, thin, access, contrast, tex, ids, outputs, tables, images, sideways, cut, paper };
})();
