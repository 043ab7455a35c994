// Figures that a reader moves: what they share. Each figure is a file in assets/hand/ that puts a function of its
// numbers into `hand.figures`; it returns controls, a drawing for a state and a width, and a sentence about the state.
window.hand = (() => {
  const figures = {};
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  function element(space, tag, attributes = {}, ...children) {
    const box = space ? document.createElementNS(space, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) box.setAttribute(name, "");
      else if (value !== false && value != null) box.setAttribute(name, value);
    }
    box.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
    return box;
  }

  const html = (...rest) => element(null, ...rest);
  const svg = (...rest) => element("http://www.w3.org/2000/svg", ...rest);
  const text = (x, y, words, kind = "", more = {}) => svg("text", { x, y, class: kind, ...more }, String(words));
  const line = (x1, y1, x2, y2, kind) => svg("line", { x1, y1, x2, y2, class: kind });
  const dot = (cx, cy, r, kind) => svg("circle", { cx, cy, r, class: kind });

  // --- numbers

  const range = (count, first = 0) => Array.from({ length: count }, (_, i) => first + i);
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const dotted = (a, b) => a.reduce((total, value, i) => total + value * b[i], 0);
  const column = (rows, k) => rows.map((row) => row[k]);
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  function softmax(scores) {
    const top = Math.max(...scores);
    const powers = scores.map((score) => Math.exp(score - top));
    const total = sum(powers);
    return powers.map((power) => power / total);
  }

  // The solution of G x = b for a symmetric positive definite G, by Cholesky.
  function solver(G) {
    const n = G.length;
    const L = G.map((row) => row.slice());
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        let rest = L[i][j];
        for (let l = 0; l < j; l++) rest -= L[i][l] * L[j][l];
        L[i][j] = i === j ? Math.sqrt(rest) : rest / L[j][j];
      }
    }
    return (b) => {
      const x = b.slice();
      for (let i = 0; i < n; i++) {
        for (let l = 0; l < i; l++) x[i] -= L[i][l] * x[l];
        x[i] /= L[i][i];
      }
      for (let i = n - 1; i >= 0; i--) {
        for (let l = i + 1; l < n; l++) x[i] -= L[l][i] * x[l];
        x[i] /= L[i][i];
      }
      return x;
    };
  }

  // Random numbers in [0, 1) that are the same at every visit (mulberry32).
  function randoms(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }

  // A standard normal number (Box and Muller).
  const normal = (random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

  function shuffled(count, random) {
    const order = range(count);
    for (let i = count - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  const power = (value) => `10${[...String(Math.round(Math.log10(value)))].map((sign) => RAISED[sign]).join("")}`;

  // A number as one would write it: three digits, a true minus sign, powers of ten where it is small or large.
  function number(value, digits = 3) {
    if (!Number.isFinite(value)) return "∞";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e-3 && size < 1e5) return String(Number(value.toPrecision(digits))).replace("-", "−");
    const exponent = Math.floor(Math.log10(size));
    const raised = [...String(exponent)].map((sign) => RAISED[sign]).join("");
    const mantissa = Number((value / 10 ** exponent).toPrecision(2));
    return `${mantissa === 1 ? "" : `${mantissa}·`.replace("-", "−")}10${raised}`;
  }

  // --- panels

  function ticksOf([low, high], log, count) {
    if (log) {
      const first = Math.ceil(Math.log10(low) - 1e-9);
      const powers = range(Math.floor(Math.log10(high) + 1e-9) - first + 1, first);
      const every = Math.ceil(powers.length / count);
      return powers.filter((exponent) => (powers.at(-1) - exponent) % every === 0).map((exponent) => 10 ** exponent);
    }
    const rough = (high - low) / count;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
    const first = Math.ceil(low / step - 1e-9);
    return range(Math.floor(high / step + 1e-9) - first + 1, first).map((i) => Number((i * step).toPrecision(10)));
  }

  // A panel with axes. box: {x, y, width, height} of the plotting area, below the two lines of its head.
  function panel({ x, y, width, height, xs, ys, logx, logy, title, xlabel, ylabel, xticks, yticks, grid = true }) {
    const place = ([low, high], log) => {
      const [a, b] = log ? [Math.log10(low), Math.log10(high)] : [low, high];
      return (value) => ((log ? Math.log10(value) : value) - a) / (b - a);
    };
    const [left, up] = [place(xs, logx), place(ys, logy)];
    const X = (value) => x + width * left(value);
    const Y = (value) => y + height * (1 - up(value));
    const [atX, atY] = [xticks ?? ticksOf(xs, logx, Math.max(2, width / 60)), yticks ?? ticksOf(ys, logy, Math.max(2, height / 40))];
    // The ticks of an axis have one notation: powers of ten where one of them is small or large.
    const named = (log, ticks) => (log && ticks.some((value) => value < 1e-2 || value > 1e3) ? power : (value) => number(value));
    const parts = [
      grid && atY.map((value) => line(x, Y(value), x + width, Y(value), "hand-grid")),
      line(x, y + height, x + width, y + height, "hand-axis"),
      line(x, y, x, y + height, "hand-axis"),
      atX.map((value) => text(X(value), y + height + 15, named(logx, atX)(value), "hand-tick", { "text-anchor": "middle" })),
      atX.map((value) => line(X(value), y + height, X(value), y + height + 4, "hand-axis")),
      atY.map((value) => text(x - 6, Y(value) + 4, named(logy, atY)(value), "hand-tick", { "text-anchor": "end" })),
      heading(x - 30, y - 28, title, ylabel),
      xlabel && text(x + width, y + height + 31, xlabel, "hand-label", { "text-anchor": "end" }),
    ];
    return { X, Y, parts, x, y, width, height };
  }

  // A title, and below it what is shown upwards.
  const heading = (x, y, title, label) => [
    title && text(Math.max(2, x), y, title, "hand-title"),
    label && text(Math.max(2, x), y + 16, label, "hand-label"),
  ];

  function curve(area, points, kind) {
    const seen = points.filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b));
    const path = seen.map(([a, b], i) => `${i ? "L" : "M"}${area.X(a).toFixed(1)},${area.Y(b).toFixed(1)}`).join("");
    return svg("path", { d: path, class: `hand-line ${kind}` });
  }

  // Words beside points, moved apart where they would overlap. labels: [x, y, words, kind].
  function labels(places, anchor = "start", least = 15) {
    const sorted = places.map((one) => one.slice()).sort((a, b) => a[1] - b[1]);
    for (let round = 0; round < 20; round++) {
      for (let i = 1; i < sorted.length; i++) {
        const over = least - (sorted[i][1] - sorted[i - 1][1]);
        if (over > 0) {
          sorted[i][1] += over / 2;
          sorted[i - 1][1] -= over / 2;
        }
      }
    }
    return sorted.map(([x, y, words, kind]) => text(x, y + 4, words, `hand-word ${kind}`, { "text-anchor": anchor }));
  }

  // Cells of a matrix: the sign gives the colour, the size how much of it.
  function cells(rows, x, y, size, { height = size, top = 1, kind, upTo = Infinity } = {}) {
    return rows.map((row, i) =>
      row.map((value, k) => {
        const known = k <= upTo;
        const colour = kind ?? (value < 0 ? "hand-negative" : "hand-positive");
        const share = known ? clamp(Math.abs(value) / top, 0, 1) : 0;
        const place = { x: (x + k * size).toFixed(2), y: (y + i * height).toFixed(2) };
        return svg("rect", { ...place, width: size, height, class: colour, "fill-opacity": share.toFixed(3) });
      }),
    );
  }

  const outline = (x, y, width, height, kind = "hand-outline") => svg("rect", { x, y, width, height, class: kind });

  // --- controls and the stage

  let count = 0;

  function slider(control, state, changed) {
    const id = `hand-${++count}`;
    const { name, label, min, max, step = 1, say = number } = control;
    const input = html("input", { type: "range", id, min, max, step, name });
    const shown = html("output", { for: id });
    control.show = () => {
      input.value = state[name];
      shown.textContent = say(state[name]);
      input.setAttribute("aria-valuetext", say(state[name]));
    };
    input.addEventListener("input", () => changed({ [name]: Number(input.value) }));
    return html("div", { class: "hand-slider" }, html("label", { for: id }, label), input, shown);
  }

  function choice(control, state, changed) {
    const { name, label, options } = control;
    const inputs = options.map((option) => {
      const input = html("input", { type: "radio", name: `hand-${name}`, value: option });
      input.addEventListener("change", () => changed({ [name]: option }));
      return input;
    });
    control.show = () => inputs.forEach((input) => (input.checked = input.value === state[name]));
    const named = inputs.map((input, i) => html("label", {}, input, ` ${options[i]}`));
    return html("fieldset", { class: "hand-choice" }, html("legend", {}, label), named);
  }

  function button(control, state, changed) {
    const box = html("button", { type: "button", "data-name": control.name }, control.label);
    control.show = () => {
      if (control.labelOf) box.textContent = control.labelOf(state);
    };
    box.addEventListener("click", () => control.press(state, changed));
    return box;
  }

  const kinds = { slider, choice, button };

  // Moves a number of the state from one value to another; at once for whoever wants no motion.
  function motion(state, changed) {
    let running = 0;
    const stop = () => {
      running++;
      state.playing = false;
    };
    const run = (name, from, to, seconds, whole = false) => {
      const mine = ++running;
      const begin = performance.now();
      if (still.matches) return changed({ [name]: to, playing: false }, true);
      state.playing = true;
      const frame = (now) => {
        if (mine !== running) return;
        const share = clamp((now - begin) / (1000 * seconds), 0, 1);
        const eased = whole ? share : share * share * (3 - 2 * share);
        const value = from + (to - from) * eased;
        changed({ [name]: whole ? Math.round(value) : value, playing: share < 1 }, true);
        if (share < 1) requestAnimationFrame(frame);
      };
      return requestAnimationFrame(frame);
    };
    return { run, stop };
  }

  // A button that plays a slider from its first to its last place, and stops where it is pressed again.
  const player = (name, min, max, seconds, label = "Play") => ({
    kind: "button",
    name: "play",
    label,
    labelOf: (state) => (state.playing === true && state.player ? "Stop" : label),
    press(state, changed) {
      if (state.playing && state.player) {
        state.motion.stop();
        return changed({ player: false });
      }
      state.player = true;
      return state.motion.run(name, min, max, seconds, true);
    },
  });

  // --- a function, line by line

  // Two digits, zeros too, so that numbers of a column look alike.
  const short = (value) => {
    const plain = Math.abs(value) >= 1e-3 && Math.abs(value) < 100;
    return plain ? value.toPrecision(2).replace("-", "−") : number(value, 2);
  };

  // A matrix with its name and its sizes: the sign gives the colour, the size how much of it.
  function matrix({ name, sizes, shape, rows }) {
    const top = Math.max(...rows.flat().map(Math.abs)) || 1;
    const cell = (value) => {
      const box = html("td", { class: value < 0 ? "hand-minus" : "hand-plus" }, short(value));
      box.style.setProperty("--share", `${Math.round((100 * Math.abs(value)) / top)}%`);
      return box;
    };
    const bracketed = (size) => (size.includes("+") && shape.length > 1 ? `(${size})` : size);
    const named = sizes && `${sizes.split(", ").map(bracketed).join(" × ")} = `;
    const extent = `${shape.join(" × ")}${named || shape.length > 1 ? "" : " numbers"}`;
    const caption = html("caption", {}, html("code", {}, name), ` ${named}${extent}`);
    return html("table", { class: "hand-matrix" }, caption, html("tbody", {}, rows.map((row) => html("tr", {}, row.map(cell)))));
  }

  function values(title, found) {
    const single = found.filter((part) => !part.rows);
    const words = single.map(({ name, value }) => html("span", {}, html("code", {}, name), ` = ${number(value)}`));
    return (
      found.length > 0 && [
        html("p", { class: "hand-part" }, title),
        html("div", { class: "hand-values" }, single.length > 0 && html("p", {}, words), found.filter((part) => part.rows).map(matrix)),
      ]
    );
  }

  // A figure of the steps that Python recorded: the code with its current line, and what the line read and made. `where` is
  // the figure's name in addresses; each step has one of its own.
  function walk(data, label) {
    const last = data.steps.length;
    const of = (state) => data.steps[state.step - 1];
    const to = (step) => ({ step: clamp(step, 1, last) });
    const ways = [
      ["« First", "Home", () => 1],
      ["‹ Back", "ArrowLeft", (step) => step - 1],
      ["Forward ›", "ArrowRight", (step) => step + 1],
      ["Last »", "End", () => last],
    ];
    const addressOf = (state) => `#${state.where}-step-${state.step}`;

    const buttons = {
      build(control, state, changed) {
        const boxes = ways.map(([words, , way]) => {
          const box = html("button", { type: "button" }, words);
          box.addEventListener("click", () => changed(to(way(state.step))));
          return box;
        });
        const link = state.where && html("a", { class: "hand-link" }, "Link to this step");
        control.show = () => {
          // Not `disabled`: a button that goes dead under the keyboard loses the focus.
          boxes.forEach((box, i) => box.setAttribute("aria-disabled", to(ways[i][2](state.step)).step === state.step));
          if (link) link.href = addressOf(state);
        };
        return html("div", { class: "hand-steps" }, boxes, link);
      },
    };

    // Lines are buttons, one of them a tab stop. A line that ran twice leads to its first run, and from there to the next.
    const code = {
      build(control, state, changed) {
        const lines = data.code.map((words, line) => {
          const indent = words.length - words.trimStart().length;
          const box = html("button", { type: "button", style: `--indent: ${indent}ch` }, html("code", {}, words.trim()));
          box.addEventListener("click", () => {
            const runs = range(last, 1).filter((step) => data.steps[step - 1].line === line);
            changed(to(runs.find((step) => of(state).line === line && step > state.step) ?? runs[0]));
          });
          return box;
        });
        const list = html("ol", { class: "hand-code", "aria-label": "Code" }, lines.map((box) => html("li", {}, box)));
        control.show = () => {
          const now = lines[of(state).line];
          for (const box of lines) {
            box.tabIndex = box === now ? 0 : -1;
            if (box === now) box.setAttribute("aria-current", "step");
            else box.removeAttribute("aria-current");
          }
          if (list.contains(document.activeElement)) now.focus({ preventScroll: true });
          // Where the list is low it scrolls by itself, and the page stays.
          const place = now.parentElement.offsetTop - list.offsetTop;
          list.scrollTop = clamp(list.scrollTop, place + 2 * now.offsetHeight - list.clientHeight, Math.max(0, place - now.offsetHeight));
        };
        return list;
      },
    };

    return {
      label,
      kind: "hand-walk",
      state: { step: 1 },
      controls: [buttons, code],
      values: (state) => [values("Reads", of(state).reads), values(state.step > 1 ? "Makes" : "Given", of(state).makes)],
      say: (state) => `Step ${state.step} of ${last}. ${of(state).say}`,
      keyed: (key, state) => ways.filter(([, name]) => name === key).map(([, , way]) => to(way(state.step)))[0],
      addressOf,
      named(address, where) {
        const [, name, step] = address.match(/^#(.+)-step-(\d+)$/) ?? [];
        return name === where ? to(Number(step)) : null;
      },
    };
  }

  // The page opens at the step that its address names; then the address follows the reader.
  function addressed(figure, state, changed) {
    const moved = () => {
      const change = figure.named(location.hash, state.where);
      if (change) changed(change);
    };
    window.addEventListener("hashchange", moved);
    moved();
    return () => {
      try {
        history.replaceState(history.state, "", figure.addressOf(state));
      } catch {
        // A page inside another may not change its address.
      }
    };
  }

  function start(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const figure = figures[root.dataset.hand](data);
    const state = { ...figure.state, where: root.closest("figure")?.id };
    const picture = svg("svg", { role: "img", class: "hand-picture" });
    const spoken = html("p", { class: "hand-say" });
    const heard = html("p", { class: "hand-heard", "aria-live": "polite" });
    let [waiting, width, follow] = [0, 0, () => {}];

    function paint() {
      const { height, parts } = figure.draw(state, width);
      picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
      picture.setAttribute("width", width);
      picture.setAttribute("height", height);
      picture.setAttribute("aria-label", figure.label);
      picture.replaceChildren(...parts.flat(Infinity).filter((part) => part));
    }

    function draw() {
      if (figure.draw) paint();
      else room.replaceChildren(...figure.values(state).flat(Infinity).filter((part) => part));
      for (const control of figure.controls) control.show?.();
      const words = figure.say(state);
      spoken.textContent = words;
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        if (heard.textContent !== words && root.dataset.moved) heard.textContent = words;
      }, 600);
    }

    function changed(change, moving = false) {
      if (!moving) {
        state.motion.stop();
        state.player = false;
      }
      Object.assign(state, change);
      if (!state.playing) state.player = false;
      root.dataset.moved = "true";
      draw();
      follow();
    }

    state.motion = motion(state, changed);
    const boxes = figure.controls.map((control) => (kinds[control.kind] ?? control.build)(control, state, changed));
    const stage = html("div", { class: `hand-stage ${figure.kind ?? ""}`, role: "group", "aria-label": figure.label });
    const room = html("div", { class: "hand-room" }, figure.draw && picture);
    stage.append(html("div", { class: "hand-controls" }, boxes), room, spoken, heard);
    if (figure.pick) {
      // Dragging sideways picks; dragging up and down scrolls the page, on a touch screen too.
      const picked = (event) => {
        const place = picture.getBoundingClientRect();
        const change = figure.pick(state, event.clientX - place.left, event.clientY - place.top, width);
        if (change) changed(change);
      };
      picture.classList.add("hand-picked");
      picture.addEventListener("pointerdown", picked);
      picture.addEventListener("pointermove", (event) => event.buttons && picked(event));
    }
    if (figure.keyed) {
      stage.addEventListener("keydown", (event) => {
        const change = figure.keyed(event.key, state);
        if (!change || event.altKey || event.ctrlKey || event.metaKey) return;
        event.preventDefault();
        event.stopPropagation();
        changed(change);
      });
    }
    root.append(stage);
    root.classList.add("hand-live");
    if (!figure.draw) {
      draw();
      if (state.where) follow = addressed(figure, state, changed);
      return;
    }
    const lay = () => {
      const now = Math.floor(room.clientWidth);
      if (now < 220 || now === width) return; // narrower only while the page is being laid out
      width = now;
      draw();
    };
    new ResizeObserver(lay).observe(room);
    lay();
  }

  function startAll() {
    for (const root of document.querySelectorAll("[data-hand]")) {
      try {
        start(root);
      } catch (error) {
        root.classList.remove("hand-live"); // the still picture stays
        root.querySelector(".hand-stage")?.remove();
        console.error(`figure ${root.dataset.hand}: ${error.message}`);
      }
    }
  }

  document.addEventListener("DOMContentLoaded", startAll);
  const drawing = { html, svg, text, line, dot, panel, heading, curve, labels, cells, outline };
  const numbers = { range, sum, dotted, column, clamp, softmax, solver, randoms, normal, shuffled, number };
  return { figures, player, walk, ...drawing, ...numbers };
})();
