// The map of head counts and rates: a cell is a training run; its curve stands beside it.
{
  const { html, number, panel, curve, dot, text } = hand;

  const LOWEST = 1e-6; // losses below it have one colour, as in the chapter's map
  const share = (loss) => (loss == null ? 1 : hand.clamp(Math.log10(Math.max(loss, LOWEST) / LOWEST) / 7, 0, 1));
  hand.rates = { share };

  hand.figures.rates = (data) => {
    const of = (name) => data.cells.filter((cell) => cell.panel === name);
    const kinds = (name, key) => [...new Set(of(name).map((cell) => cell[key]))].sort((a, b) => a - b);
    const rows = (name) => kinds(name, "H").reverse(); // most heads on top
    const cellOf = ({ panel: name, H, rate }) => of(name).find((cell) => cell.H === H && cell.rate === rate);
    const words = (cell) =>
      `${cell.H} heads, rate ${number(cell.rate)}: excess loss ${number(cell.losses.at(-1) ?? Infinity)} at the end${cell.unstable ? ", unstable" : ""}`;

    // The map: a table of buttons, one of them a tab stop; arrow keys lead from cell to cell.
    const map = {
      build(control, state, changed) {
        const box = html("div", { class: "hand-grid-box" });
        let drawn = "";
        const pick = (cell) => changed({ H: cell.H, rate: cell.rate });
        const build = () => {
          const [heads, rates] = [rows(state.panel), kinds(state.panel, "rate")];
          const buttons = heads.map((H) =>
            rates.map((rate) => {
              const cell = cellOf({ panel: state.panel, H, rate });
              const end = share(cell.losses.at(-1));
              const button = html("button", { type: "button", "aria-label": words(cell), title: words(cell), "data-dark": end > 0.55 }, cell.unstable ? "×" : "");
              button.style.setProperty("--share", `${Math.round(100 * end)}%`);
              for (const event of ["click", "focus", "pointerenter"]) button.addEventListener(event, () => pick(cell));
              return button;
            }),
          );
          box.addEventListener("keydown", (event) => {
            const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
            const i = buttons.findIndex((row) => row.includes(event.target));
            if (!step || i < 0) return;
            event.preventDefault();
            buttons[i + step[0]]?.[buttons[i].indexOf(event.target) + step[1]]?.focus();
          });
          const head = html("tr", {}, html("td"), rates.map((rate) => html("th", { scope: "col" }, number(rate))));
          const body = buttons.map((row, i) => html("tr", {}, html("th", { scope: "row" }, heads[i]), row.map((button) => html("td", {}, button))));
          const table = html("table", { class: "hand-map" }, html("caption", {}, "Rows: heads H. Columns: learning rate. Fuller colour: higher loss at the end, from 10⁻⁶ to 10. ×: unstable."), html("tbody", {}, body, head));
          box.replaceChildren(table);
          control.mark = () =>
            buttons.forEach((row, i) =>
              row.forEach((button, j) => {
                const chosen = heads[i] === state.H && rates[j] === state.rate;
                button.setAttribute("aria-pressed", chosen);
                button.tabIndex = chosen ? 0 : -1;
              }),
            );
        };
        control.show = () => {
          if (drawn !== state.panel) {
            drawn = state.panel;
            build();
          }
          control.mark();
        };
        return box;
      },
    };

    const first = data.panels[0];
    const start = { H: 400, rate: kinds(first, "rate").at(-1) };
    return {
      label: "Excess loss against training step for the chosen number of heads and rate, among the other runs of that number of heads",
      state: { panel: first, ...start },
      controls: [{ kind: "choice", name: "panel", label: "Training:", options: data.panels }, map],
      draw(state, width) {
        // Another panel may lack the chosen cell: then its last one is chosen.
        if (!cellOf(state)) Object.assign(state, { H: rows(state.panel)[0], rate: kinds(state.panel, "rate").at(-1) });
        const chosen = cellOf(state);
        const last = Math.max(...of(state.panel).flatMap((cell) => cell.steps));
        const [low, high] = [1e-8, 1e2];
        const tall = 240;
        const area = panel({
          x: 48, y: 46, width: width - 108, height: tall, xs: [1, last + 1], ys: [low, high], logx: true, logy: true,
          title: `H = ${chosen.H}, rate ${number(chosen.rate)}`, ylabel: "excess loss L − L*", xlabel: "training step + 1",
        });
        const points = (cell) => cell.steps.map((step, i) => [step + 1, cell.losses[i] == null ? NaN : hand.clamp(cell.losses[i], low, high)]);
        const others = of(state.panel).filter((cell) => cell.H === chosen.H && cell !== chosen);
        const seen = points(chosen).filter(([, loss]) => Number.isFinite(loss));
        // Beside the end of a curve: its rate. Those that leave at the top have theirs in one line there.
        const end = (cell) => points(cell).findLast(([, value]) => Number.isFinite(value));
        const all = of(state.panel).filter((cell) => cell.H === chosen.H);
        const above = all.filter((cell) => end(cell)[1] >= high);
        const gone = Math.max(...above.map((cell) => area.X(end(cell)[0])));
        const side = gone > area.x + 0.5 * area.width ? "end" : "start";
        const ends = all.filter((cell) => !above.includes(cell)).map((cell) => {
          const [step, loss] = end(cell);
          return [area.X(step) + 8, area.Y(loss), number(cell.rate), cell !== chosen ? "" : chosen.unstable ? "hand-b" : "hand-a"];
        });
        const parts = [
          area.parts,
          others.map((cell) => curve(area, points(cell), "hand-faint")),
          curve(area, seen, `hand-thick ${chosen.unstable ? "hand-b" : "hand-a"}`),
          hand.labels(ends),
          above.length && text(gone + (side === "end" ? -8 : 8), area.y + 14, `${above.map((cell) => number(cell.rate)).join(", ")}: off the top`, "hand-word", { "text-anchor": side }),
          dot(area.X(seen.at(-1)[0]), area.Y(seen.at(-1)[1]), 4.5, `hand-mark ${chosen.unstable ? "hand-b" : "hand-a"}`),
          text(area.x + 10, area.y + tall - 24, chosen.unstable ? "━ this run, unstable" : "━ this run", `hand-word ${chosen.unstable ? "hand-b" : "hand-a"}`),
          text(area.x + 10, area.y + tall - 8, "─ same H; rates at the ends", "hand-word"),
        ];
        return { height: 46 + tall + 38, parts };
      },
      say(state) {
        const cell = cellOf(state) ?? cellOf({ panel: state.panel, H: rows(state.panel)[0], rate: kinds(state.panel, "rate").at(-1) });
        const rule = state.panel === "GD" ? `rate × curvature at the start = ${number(cell.rate * cell.curvature)} (gradient descent is stable below 2)` : `rate × H = ${number(cell.rate * cell.H)}`;
        const end = cell.losses.at(-1);
        return (
          `${cell.H} heads, rate ${number(cell.rate)}, ${rule}. Excess loss after ${cell.steps.at(-1)} steps: ${end == null ? "out of range" : number(end)}. ` +
          (cell.unstable ? "Unstable: it climbed to ten times its lowest value before, or more." : "Stable: it never climbed to ten times its lowest value before.")
        );
      },
    };
  };
}
