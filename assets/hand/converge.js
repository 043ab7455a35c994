// The table of weights on its way to the best one, and one column of it as a difference of two positive parts.
{
  const { range, column, number, panel, heading, curve, cells, outline, line, dot, text, svg } = hand;

  const table = ([positive, negative]) => positive.map((row, i) => row.map((value, k) => value - negative[i][k]));
  hand.converge = { table };

  hand.figures.converge = (data) => {
    const tables = data.parts.map(table);
    const [N, K, last] = [data.shown.length, data.best[0].length, data.steps.length - 1];
    const most = Math.max(...data.best.flat().map(Math.abs));
    const distance = (t, k) => Math.max(...range(N).map((i) => Math.abs(tables[t][i][k] - data.best[i][k])));
    const longest = Math.max(...data.parts.flat(3).map(Math.abs));
    let [left, cell] = [0, 0];

    return {
      label: "The table of weights along training beside the best table, one of its columns as a difference of positive and negative heads, and the loss",
      state: { t: 12, k: 11 },
      controls: [
        hand.player("t", 0, last, 6, "Train"),
        { kind: "slider", name: "t", label: "Training step", min: 0, max: last, say: (t) => String(data.steps[t]) },
        { kind: "slider", name: "k", label: "Token k", min: 0, max: K - 1, say: (k) => (data.shown.includes(k) ? `${k + 1}, shown` : `${k + 1}`) },
      ],
      draw(state, width) {
        const { t, k } = state;
        const [narrow, row, up] = [width < 560, 15, 52];
        const high = N * row;
        left = 34;
        cell = ((narrow ? width : 0.58 * width) - left - 6) / K;
        const second = up + high + 44;
        const ticks = (y) => range(N).map((i) => text(left - 6, y + i * row + 12, data.shown[i] + 1, "hand-tick hand-small", { "text-anchor": "end" }));
        const parts = [
          heading(2, 16, `Table of weights at step ${data.steps[t]}`, "row: shown token, column: token k"),
          ticks(up),
          cells(tables[t], left, up, cell, { height: row, top: most }),
          outline(left, up, cell * K, high, "hand-frame"),
          text(2, second - 10, "A, the best table", "hand-title"),
          ticks(second),
          cells(data.best, left, second, cell, { height: row, top: most }),
          outline(left, second, cell * K, high, "hand-frame"),
          [up, second].map((y) => outline(left + k * cell, y, cell, high)),
        ];
        // One column: what heads of either sign give, and their difference.
        const x = narrow ? 34 : 0.58 * width + 40;
        const y = narrow ? second + high + 72 : up;
        const tall = narrow ? 24 : (2 * high + 44) / N;
        const wide = (narrow ? width - 34 : width - x) - 10;
        const X = (value) => x + (wide * (value + longest)) / (2 * longest);
        const unit = longest >= 1 ? 1 : 0.5;
        const scale = range(2 * Math.floor(longest / unit) + 1, -Math.floor(longest / unit)).map((i) => i * unit);
        const [positive, negative] = data.parts[t].map((part) => column(part, k));
        parts.push(
          heading(x - 32, y - 36, `Column ${k + 1}, head by head`, "left: heads with w < 0, right: w > 0"),
          scale.map((value) => line(X(value), y, X(value), y + N * tall, value ? "hand-grid" : "hand-axis")),
        );
        for (const i of range(N)) {
          const at = y + i * tall;
          const middle = at + tall / 2;
          const bar = (value, kind) =>
            svg("rect", { x: Math.min(X(0), X(value)), y: at + 3, width: Math.abs(X(value) - X(0)), height: tall - 6, class: kind, "fill-opacity": 0.45 });
          const target = X(data.best[i][k]);
          parts.push(
            text(x - 6, middle + 4, data.shown[i] + 1, "hand-tick hand-small", { "text-anchor": "end" }),
            bar(positive[i], "hand-positive"),
            bar(-negative[i], "hand-negative"),
            line(target, at + 1, target, at + tall - 1, "hand-target"),
            dot(X(positive[i] - negative[i]), middle, 4.5, "hand-dot"),
          );
        }
        parts.push(
          scale.map((value) => text(X(value), y + N * tall + 15, number(value), "hand-tick", { "text-anchor": "middle" })),
          text(x, y + N * tall + 33, "● sum of the heads   ┃ A", "hand-word"),
        );
        const foot = (narrow ? y + N * tall + 55 : second + high + 40) + 44;
        const losses = data.losses.map((value, i) => [data.steps[i], value]);
        const [lowest, highest] = [Math.floor(Math.log10(Math.min(...data.losses))), Math.ceil(Math.log10(Math.max(...data.losses)))];
        const powers = range(highest - lowest + 1, lowest).map((exponent) => 10 ** exponent);
        const loss = 22 * (highest - lowest); // height
        const area = panel({
          x: 44, y: foot, width: width - 60, height: loss, xs: [0, data.steps[last]], ys: [powers[0], powers.at(-1)], logy: true, yticks: powers,
          title: "Excess loss L − L*", ylabel: "Adam, not the setting of Theorem 1", xlabel: "training step",
        });
        parts.push(
          area.parts,
          curve(area, losses, "hand-a"),
          line(area.X(losses[t][0]), foot, area.X(losses[t][0]), foot + loss, "hand-rule"),
          dot(area.X(losses[t][0]), area.Y(losses[t][1]), 5, "hand-mark hand-a"),
        );
        return { height: foot + loss + 38, parts };
      },
      pick(state, x, y, width) {
        const k = Math.floor((x - left) / cell);
        return (width >= 560 || y < 400) && k >= 0 && k < K && { k };
      },
      say({ t, k }) {
        const whole = Math.max(...range(K).map((token) => distance(t, token)));
        return (
          `Step ${data.steps[t]}: excess loss ${number(data.losses[t])}. Largest distance of a weight from A: ${number(distance(t, k), 2)} in column ${k + 1}, ` +
          `${number(whole, 2)} in the whole table.`
        );
      },
    };
  };
}
