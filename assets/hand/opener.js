// A prompt on its way through the trained model: labels, heads, a column of the table, a prediction.
{
  const { range, sum, dotted, column, number, panel, heading, curve, cells, outline, line, dot, text, svg } = hand;

  // The table of weights, (N, K): sum over heads of w[h][k] times the attention on shown token i.
  const table = ({ attention, w }) =>
    attention[0].map((row, i) => row.map((_, k) => sum(w.map((weights, h) => weights[k] * attention[h][i][k]))));

  // Labels times a table of weights: what it predicts for all K tokens.
  const predict = (weights, y) => weights[0].map((_, k) => dotted(y, column(weights, k)));

  hand.opener = { table, predict };

  hand.figures.opener = (data) => {
    const [H, N, K] = [data.w.length, data.shown.length, data.w[0].length];
    const weights = table(data);
    const mix = (a, b, share) => a.map((value, i) => value + (b[i] - value) * share);
    const labelsOf = (state) => mix(data.labels[state.before], data.labels[state.task], state.mix);
    const truthOf = (state) => mix(data.truth[state.before], data.truth[state.task], state.mix);
    const tops = data.labels.map((y, task) => 1.2 * Math.max(...[...y, ...data.truth[task]].map(Math.abs)));
    const most = Math.max(...weights.flat().map(Math.abs));
    let [left, cell] = [0, 0]; // of the table, for picking

    // Horizontal bars from a middle line, one a shown label.
    const bars = (values, x, y, unit, row, kind) =>
      values.map((value, i) => {
        const size = Math.abs(value) * unit;
        const place = { x: value < 0 ? x - size : x, y: y + i * row + 3, width: size, height: row - 6 };
        return svg("rect", { ...place, class: kind(value) });
      });

    return {
      label: "A prompt with eight labels, the weights of four heads for one token, the table that they make, and the predictions for all 24 tokens",
      state: { k: 11, task: data.task, before: data.task, mix: 1 },
      controls: [
        hand.player("k", 0, K - 1, 7, "Play"),
        { kind: "slider", name: "k", label: "Token k", min: 0, max: K - 1, say: (k) => (data.shown.includes(k) ? `${k + 1}, shown` : `${k + 1}`) },
        {
          kind: "button",
          name: "task",
          label: "New task",
          press(state, changed) {
            changed({ before: state.task, task: (state.task + 1) % data.labels.length, mix: 0 });
            state.motion.run("mix", 0, 1, 0.7);
          },
        },
      ],
      draw(state, width) {
        const [narrow, row, k] = [width < 560, 18, state.k];
        const up = narrow ? 46 + 150 + 92 : 52; // on a small screen the predictions come first, below the slider
        const [y, truth, upTo] = [labelsOf(state), truthOf(state), state.player ? state.k : K];
        const top = tops[state.before] + (tops[state.task] - tops[state.before]) * state.mix;
        const predicted = predict(weights, y);
        const high = N * row;
        const parts = [];
        // 1 the prompt
        const prompt = { x: 48, width: narrow ? 74 : 92 };
        const middle = prompt.x + prompt.width / 2;
        parts.push(
          heading(2, up - 36, "1 Prompt", "labels y"),
          range(N).map((i) => text(prompt.x - 6, up + i * row + 13, data.shown[i] + 1, "hand-tick", { "text-anchor": "end" })),
          text(2, up + high + 16, "token", "hand-label"),
          line(middle, up, middle, up + high, "hand-axis"),
          bars(y, middle, up, prompt.width / 2 / top, row, () => "hand-ink"),
        );
        // 2 the heads
        const start = prompt.x + prompt.width + (narrow ? 16 : 26);
        const room = (narrow ? width : 0.54 * width) - start - 4;
        const step = Math.floor(room / H);
        parts.push(heading(start, up - 36, "2 Heads", narrow ? `softmax for token ${k + 1}` : `softmax weights for token ${k + 1}`));
        for (const h of range(H)) {
          const [x, value] = [start + h * step, data.w[h][k]];
          parts.push(
            line(x, up, x, up + high, "hand-axis"),
            bars(column(data.attention[h], k), x, up, step - 10, row, () => (value < 0 ? "hand-negative" : "hand-positive")),
            text(x, up + high + 16, `×${value.toFixed(1)}`.replace("-", "−"), `hand-word ${value < 0 ? "hand-b" : "hand-a"}`),
          );
        }
        // 3 the table
        left = narrow ? 40 : Math.round(0.54 * width) + 40;
        cell = (width - left - 8) / K;
        const ticks = [1, 6, 12, 18, 24];
        const down = narrow ? up + high + 84 : up;
        parts.push(
          heading(left - 36, down - 36, "3 Table", "the heads, scaled and added"),
          narrow && range(N).map((i) => text(left - 6, down + i * row + 13, data.shown[i] + 1, "hand-tick", { "text-anchor": "end" })),
          cells(weights, left, down, cell, { height: row, top: most, upTo }),
          outline(left, down, cell * K, high, "hand-frame"),
          ticks.map((token) => text(left + (token - 0.5) * cell, down + high + 15, token, "hand-tick", { "text-anchor": "middle" })),
          text(left + K * cell, down + high + 31, "token k", "hand-label", { "text-anchor": "end" }),
          outline(left + k * cell, down, cell, high),
        );
        // 4 the predictions, on the same columns as the table
        const below = narrow ? 46 : down + high + 74;
        const area = panel({
          x: left, y: below, width: cell * K, height: 150, xs: [0.5, K + 0.5], ys: [-top, top],
          xticks: ticks, title: "4 Prediction", ylabel: "○ label shown   ● predicted   - - truth", xlabel: "token k",
        });
        const known = range(K).filter((token) => token <= upTo);
        parts.push(
          line(left + (k + 0.5) * cell, below, left + (k + 0.5) * cell, below + 150, "hand-rule"),
          area.parts,
          curve(area, truth.map((value, token) => [token + 1, value]), "hand-truth"),
          data.shown.map((token, i) => dot(area.X(token + 1), area.Y(y[i]), 5.5, "hand-open")),
          known.map((token) => dot(area.X(token + 1), area.Y(predicted[token]), token === k ? 5 : 3, "hand-mark hand-a")),
        );
        // 5 how the prediction of one token adds up
        const foot = narrow ? down + high + 84 : below;
        const wide = narrow ? width - 44 : Math.round(0.54 * width) - 60;
        const pieces = panel({
          x: 36, y: foot, width: wide, height: 150, xs: [-0.6, N + 0.9], ys: [-top, top], xticks: [],
          title: `Label times weight, token ${k + 1}`, ylabel: "added up from left to right",
        });
        let level = 0;
        const slot = wide / (N + 1.5);
        parts.push(pieces.parts, line(pieces.x, pieces.Y(0), pieces.x + wide, pieces.Y(0), "hand-axis"));
        for (const i of range(N)) {
          const next = level + y[i] * weights[i][k];
          const [from, to] = [pieces.Y(Math.max(level, next)), pieces.Y(Math.min(level, next))];
          const kind = weights[i][k] < 0 ? "hand-negative" : "hand-positive";
          parts.push(
            svg("rect", { x: pieces.X(i) - slot / 2 + 2, y: from, width: slot - 4, height: Math.max(to - from, 0.8), class: kind }),
            text(pieces.X(i), foot + 150 + 15, data.shown[i] + 1, "hand-tick", { "text-anchor": "middle" }),
          );
          level = next;
        }
        parts.push(
          line(pieces.X(N - 1), pieces.Y(level), narrow ? pieces.X(N + 0.3) : area.X(k + 1), pieces.Y(level), "hand-rule"),
          dot(pieces.X(N + 0.3), pieces.Y(level), 5, "hand-mark hand-a"),
          text(pieces.X(N + 0.3), foot + 150 + 15, "ŷ", "hand-tick", { "text-anchor": "middle" }),
        );
        return { height: foot + 150 + 40, parts };
      },
      pick(state, x) {
        const k = Math.floor((x - left) / cell);
        return k >= 0 && k < K && { k };
      },
      say(state) {
        const [y, k] = [labelsOf(state), state.k];
        const [own, best] = [weights, data.best].map((rows) => predict(rows, y));
        const farthest = Math.max(...own.map((value, token) => Math.abs(value - best[token])));
        const shown = data.shown.indexOf(k);
        const [label, said, truth] = [y[shown], own[k], truthOf(state)[k]].map((value) => number(value, 2));
        const told = shown < 0 ? `not shown: the model predicts ${said}, ridge regression ${number(best[k], 2)}` : `shown with label ${label}: the model predicts ${said}; the best table copies the label`;
        return (
          `Task ${state.task + 1}, token ${k + 1}, ${told}. The truth is ${truth}. Over all ${K} tokens the model is at most ${number(farthest, 2)} away from the best table, ` +
          "which copies shown labels and does ridge regression for the others. A new task changes labels and predictions, and not one weight."
        );
      },
    };
  };
}
