// Softmax weights against the similarity of a key to the query, and what signed attention makes of them.
{
  const { range, sum, softmax, number, panel, curve, line, dot, text, svg } = hand;

  // Softmax weights, less beta p_demo / r on the r lowest-scored demonstrations, the own weight times 1 - alpha.
  // The own key is the last; of equal scores the earlier demonstration comes first.
  function signed(scores, alpha, beta, r) {
    const own = scores.length - 1;
    const weights = softmax(scores);
    const shown = sum(weights.slice(0, own));
    const lowest = range(own).sort((i, j) => scores[i] - scores[j] || i - j).slice(0, r);
    const changed = weights.map((weight, i) => (lowest.includes(i) ? weight - (beta * shown) / r : weight));
    changed[own] *= 1 - alpha;
    return { weights, changed, shown };
  }

  hand.signed = { signed };

  hand.figures.signed = (data) => {
    const own = data.scores.length - 1;
    const scaled = (state) => data.scores.map((score) => score * state.scale);
    return {
      label: "Attention weights of one query against the similarity of the keys, unsigned and signed",
      state: { beta: 0.5, r: 5, alpha: 0, scale: 4 },
      controls: [
        { kind: "slider", name: "beta", label: "Strength β", min: 0, max: 1.5, step: 0.05, say: (value) => value.toFixed(2) },
        { kind: "slider", name: "r", label: "Negatives r", min: 1, max: own },
        { kind: "slider", name: "alpha", label: "Decay α", min: 0, max: 1.5, step: 0.05, say: (value) => value.toFixed(2) },
        { kind: "slider", name: "scale", label: "Score factor", min: 0.5, max: 8, step: 0.5 },
      ],
      draw(state, width) {
        const scores = scaled(state);
        const { weights, changed } = signed(scores, state.alpha, state.beta, state.r);
        const [low, high] = [Math.min(...scores), Math.max(...scores)];
        const reach = 0.06 * (high - low);
        const [bottom, top] = [Math.min(0, ...changed), Math.max(...weights)];
        const margin = 0.12 * (top - bottom);
        const tall = width < 560 ? 260 : 280;
        const area = panel({
          x: 48, y: 46, width: width - 64, height: tall, xs: [low - reach, high + reach], ys: [bottom - margin, top + margin],
          title: "Weights of one query", ylabel: "weight", xlabel: "similarity of key and query, q · k",
        });
        const total = sum(scores.map((score) => Math.exp(score)));
        const end = Math.min(high + reach, Math.log((top + margin) * total)); // where the curve leaves the panel
        const smooth = range(81).map((i) => low - reach + ((end - low + reach) * i) / 80).map((x) => [x, Math.exp(x) / total]);
        const order = [...range(own).sort((i, j) => scores[i] - scores[j]), own]; // the own key on top
        const parts = [
          area.parts,
          line(area.x, area.Y(0), area.x + area.width, area.Y(0), "hand-axis"),
          curve(area, smooth, "hand-truth"),
        ];
        for (const i of order) {
          const [x, before, after] = [area.X(scores[i]), area.Y(weights[i]), area.Y(changed[i])];
          const kind = changed[i] < 0 ? "hand-b" : "hand-a";
          parts.push(
            svg("line", { x1: x, y1: before, x2: x, y2: after, class: `hand-stem ${kind}` }),
            dot(x, before, 4.5, "hand-open"),
            i === own
              ? svg("rect", { x: x - 6, y: after - 6, width: 12, height: 12, class: `hand-mark ${kind}` })
              : dot(x, after, 5, `hand-mark ${kind}`),
          );
        }
        const key = [["○ - - softmax", ""], ["● signed, positive", "hand-a"], ["● signed, negative", "hand-b"], ["■ the query's own", changed[own] < 0 ? "hand-b" : "hand-a"]];
        const foot = 46 + tall + 54;
        const wide = width < 560 ? (width - 10) / 2 : (width - 56) / 4;
        const place = (i) => (width < 560 ? [6 + wide * (i % 2), foot + 18 * Math.floor(i / 2)] : [area.x + wide * i, foot]);
        parts.push(key.map(([words, kind], i) => text(...place(i), words, `hand-word ${kind}`)));
        return { height: foot + (width < 560 ? 28 : 12), parts };
      },
      say(state) {
        const { weights, changed, shown } = signed(scaled(state), state.alpha, state.beta, state.r);
        const exact = (value, digits) => value.toFixed(digits).replace("-", "−"); // so that the sum can be done by hand
        const count = changed.filter((weight) => weight < 0).length;
        return (
          `${count} of ${own + 1} weights ${count === 1 ? "is" : "are"} negative. All weights together sum to 1 − α·${exact(weights[own], 4)} − β·${exact(shown, 4)} = ` +
          `1 − ${exact(state.alpha, 2)}·${exact(weights[own], 4)} − ${exact(state.beta, 2)}·${exact(shown, 4)} = ${exact(sum(changed), 3)}: ` +
          `the decay takes α times the query's own softmax weight, the negatives β times the demonstrations' share.`
        );
      },
    };
  };
}
