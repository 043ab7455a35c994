// Typesets a lesson's slides, splits those that are too high at the borders of their blocks, and starts reveal.js.
(() => {
  const HEIGHT = 680; // of 720; the number of the slide stands below
  const SIZES = ["", "tight", "tighter"]; // 30, 26 and 24 pixels, no smaller

  const box = (kind, words) => Object.assign(document.createElement(kind), words);
  const blocks = (section) => [...section.querySelectorAll(":scope > .block")];
  const fits = (section) => section.offsetHeight <= HEIGHT;

  // The smallest letters that are needed, of those that a room can read.
  function shrink(section) {
    const own = section.className;
    for (const size of SIZES) {
      section.className = `${own} ${size}`;
      if (fits(section)) return true;
    }
    section.className = `${own} ${blocks(section).length > 1 ? "" : SIZES[2]}`;
    return false;
  }

  // An equation that is wider than the slide gets smaller letters, no other does.
  function narrow(section) {
    for (const formula of section.querySelectorAll('mjx-container[display="true"]')) {
      const room = formula.parentElement.clientWidth - 30;
      const drawing = formula.querySelector("svg").getBoundingClientRect().width;
      const wide = Math.max(formula.getBoundingClientRect().width, drawing);
      if (wide > room) formula.style.fontSize = `${Math.floor((100 * room) / wide)}%`;
    }
  }

  // A slide that is too high gives its last blocks to a next one, with the same heading.
  function split(section) {
    narrow(section);
    if (shrink(section) || blocks(section).length < 2) return;
    const next = section.cloneNode(false);
    next.append(section.querySelector("h2").cloneNode(true));
    next.querySelector("h2").append(box("small", { textContent: " (continued)" }));
    next.querySelector("h2 small ~ small")?.remove();
    section.after(next);
    while (blocks(section).length > 1 && !fits(section)) {
      next.querySelector("h2").after(blocks(section).at(-1));
    }
    shrink(section);
    split(next);
  }

  // A picture gets the height that its heading and caption leave.
  function fitPictures(section) {
    const picture = section.querySelector(":scope > .block > img");
    if (!picture) return;
    if (picture.naturalHeight > picture.naturalWidth) picture.parentElement.classList.add("tall");
    else picture.style.maxHeight = `${picture.clientHeight - section.offsetHeight + HEIGHT}px`;
  }

  // Each figure has a slide of its own.
  function alone(section) {
    for (const block of blocks(section).filter((each) => each.querySelector("img, .hand"))) {
      if (blocks(section).length === 1) return;
      const next = section.cloneNode(false);
      next.append(section.querySelector("h2").cloneNode(true));
      const after = blocks(section).slice(blocks(section).indexOf(block) + 1);
      if (block !== blocks(section)[0]) {
        next.append(block, ...after);
        section.after(next);
        return alone(next);
      }
      next.append(...after);
      section.after(next);
      return alone(next);
    }
  }

  // Until what was changed is laid out and drawn; a page in the background draws nothing, so not for ever.
  const frame = () =>
    new Promise((done) => {
      requestAnimationFrame(() => requestAnimationFrame(done));
      setTimeout(done, 500);
    });

  // A figure that a reader moves gets the largest letters with which all of it fits.
  async function fitFigure(section) {
    const figure = section.querySelector(".hand");
    for (let zoom = 1.85; figure && zoom > 0.9 && !fits(section); zoom -= 0.1) {
      figure.style.zoom = zoom;
      await frame(); // it draws itself anew when its room changes
    }
  }

  const loaded = (picture) => picture.complete || new Promise((done) => (picture.onload = picture.onerror = done));

  async function start() {
    await MathJax.startup.promise;
    await MathJax.typesetPromise();
    const source = document.getElementById("source");
    await Promise.all([...source.querySelectorAll("img")].map(loaded));
    for (const section of [...source.children]) alone(section);
    for (const section of [...source.children]) {
      await fitFigure(section);
      fitPictures(section);
      split(section);
    }
    document.querySelector(".reveal .slides").append(...source.children);
    source.remove();
    const deck = new Reveal({
      width: 1280,
      height: 720,
      margin: 0,
      center: false,
      hash: true,
      controls: false,
      slideNumber: "c/t",
      transition: "none",
      pdfMaxPagesPerSlide: 1,
      pdfSeparateFragments: false,
      plugins: [RevealNotes],
      keyboard: {
        78: () => deck.configure({ showNotes: !deck.getConfig().showNotes }), // N
        80: () => location.assign(`${location.pathname}?print-pdf`), // P
      },
    });
    await deck.initialize();
    document.body.dataset.ready = "true";
  }

  document.addEventListener("DOMContentLoaded", start);
})();
