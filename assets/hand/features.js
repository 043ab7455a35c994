// An attention matrix made with d_r positive random features, beside the exact one.
{
  const { range, sum, dotted, softmax, number, panel, heading, curve, cells, outline, dot, line, text } = hand;

  const rowwise = (kernel) => kernel.map((row) => row.map((value) => value / sum(row)));
  const scaled = (rows, by) => rows.map((row) => row.map((value) => value * by));
  const exact = (queries, keys) => queries.map((q) => softmax(keys.map((k) => dotted(q, k))));

  // Estimated weights: rows of phi(q)^T phi(k) with phi(x) = exp(w_j^T x - |x|^2 / 2), each divided by its sum.
  function estimated(queries, keys, directions) {
    const logs = (tokens) => tokens.map((x) => directions.map((w) => dotted(w, x) - dotted(x, x) / 2));
    const [q, k] = [logs(queries), logs(keys)];
    return rowwise(q.map((a) => k.map((b) => sum(a.map((value, j) => Math.exp(value + b[j]))))));
  }

  // The first-order variance of each weight times d_r: a_i^2 (C_ii - 2 sum_j a_j C_ij + sum_jl a_j a_l C_jl).
  function variance(queries, keys) {
    const weights = exact(queries, keys);
    return queries.map((q, m) => {
      const sums = keys.map((k) => k.map((value, j) => value + q[j]));
      const C = sums.map((s) => sums.map((other) => Math.expm1(dotted(s, other))));
      const a = weights[m];
      const across = C.map((row) => dotted(row, a));
      const whole = dotted(across, a);
      return a.map((weight, i) => weight ** 2 * (C[i][i] - 2 * across[i] + whole));
    });
  }

  // New directions w_j ~ N(0, I), (count, d).
  const drawn = (count, d, random) => range(count).map(() => range(d).map(() => hand.normal(random)));

  const rms = (rows) => Math.sqrt(sum(rows.flat()) / rows.flat().length);
  hand.features = { estimated, exact, variance, rms, drawn };

  hand.figures.features = (data) => {
    const random = hand.randoms(3);
    const counts = range(9, 2).map((power) => 2 ** power); // 4 to 1,024
    const at = (state) => {
      const by = 10 ** (state.size / 2); // size: log10 of the mean of |q + k|^2
      return [scaled(data.queries, by), scaled(data.keys, by)];
    };
    let [known, found] = ["", null];
    // What a state needs; kept while only the slider for d_r moves.
    function look(state) {
      const key = `${state.size} ${state.draw}`;
      if (key !== known) {
        const [queries, keys] = at(state);
        const wanted = exact(queries, keys);
        const maps = counts.map((count) => estimated(queries, keys, state.directions.slice(0, count)));
        const errors = maps.map((map) => rms(map.map((row, i) => row.map((value, j) => (value - wanted[i][j]) ** 2))));
        [known, found] = [key, { wanted, maps, errors, spread: rms(variance(queries, keys)) }];
      }
      return found;
    }

    return {
      label: "An attention matrix estimated with random features, the exact one, and the error against the number of features",
      state: { size: 0, features: 2, draw: 0, directions: data.directions },
      controls: [
        { kind: "slider", name: "features", label: "Features dᵣ", min: 0, max: counts.length - 1, say: (i) => String(counts[i]) },
        { kind: "slider", name: "size", label: "Mean ‖q + k‖²", min: -0.6, max: 1.2, step: 0.1, say: (value) => number(10 ** value, 2) },
        {
          kind: "button",
          name: "draw",
          label: "Draw again",
          press: (state, changed) => changed({ draw: state.draw + 1, directions: drawn(data.directions.length, data.directions[0].length, random) }),
        },
      ],
      draw(state, width) {
        const { wanted, maps, errors, spread } = look(state);
        const narrow = width < 560;
        const n = wanted.length;
        const side = narrow ? (width - 60) / 2 : Math.min(200, (width - 330) / 2);
        const cell = side / n;
        const top = Math.max(...wanted.flat());
        const picture = (x, rows, title, label) => [
          heading(x, 16, title, label),
          cells(rows, x, 44, cell, { top, kind: "hand-positive" }),
          outline(x, 44, side, side, "hand-frame"),
        ];
        const gap = narrow ? 24 : 18;
        const parts = [
          picture(18, maps[state.features], `${counts[state.features]} features`, "row: query"),
          picture(18 + side + gap, wanted, "Exact softmax", "column: key"),
        ];
        const y = narrow ? 44 + side + 66 : 44;
        const x = narrow ? 50 : 18 + 2 * side + gap + 66;
        const low = 10 ** Math.floor(Math.log10(Math.min(...errors, spread / 32)));
        const high = Math.min(1, 10 ** Math.ceil(Math.log10(Math.max(...errors, spread / 2)))); // no weight is off by more
        const area = panel({
          x, y, width: width - x - 14, height: narrow ? 190 : side, xs: [counts[0], counts.at(-1)], ys: [low, high], logx: true, logy: true,
          xticks: [4, 32, 256], title: "Error of the weights", ylabel: "root mean square", xlabel: "features dᵣ",
        });
        const predicted = counts.map((count) => [count, spread / Math.sqrt(count)]).filter(([, error]) => error <= high);
        parts.push(
          area.parts,
          line(area.X(counts[state.features]), y, area.X(counts[state.features]), y + area.height, "hand-rule"),
          curve(area, predicted, "hand-truth"),
          curve(area, counts.map((count, i) => [count, errors[i]]), "hand-a"),
          counts.map((count, i) => dot(area.X(count), area.Y(errors[i]), i === state.features ? 5.5 : 3, "hand-mark hand-a")),
          text(area.x, area.y + area.height + 50, "● this draw", "hand-word hand-a"),
          predicted.length > 1 && text(area.x + 92, area.y + area.height + 50, "- - first order", "hand-word"),
        );
        return { height: y + area.height + 58, parts };
      },
      say(state) {
        const { wanted, maps, errors, spread } = look(state);
        const count = counts[state.features];
        const lost = wanted.map((row, i) => sum(row.map((value, j) => Math.abs(value - maps[state.features][i][j]))) / 2);
        return (
          `Mean ‖q + k‖² = ${number(10 ** state.size, 2)}, ${count} features: root mean square error ${number(errors[state.features])}, ` +
          `${spread / Math.sqrt(count) > 1 ? "where the first-order formula, above 1, says nothing" : `${number(spread / Math.sqrt(count))} by the first-order formula`}. Of each row's weight ${number(100 * (sum(lost) / lost.length), 2)} % is misplaced on average, ` +
          `${number(100 * Math.max(...lost), 2)} % in the worst row.`
        );
      },
    };
  };
}
