// The dual model W, one demonstration at a time: its matrix, its output at the query, its error.
{
  const { range, sum, dotted, number, panel, heading, curve, cells, outline, line, dot, text, svg } = hand;

  // Attention's denominator at the query, the start W_0, and what each step adds to W: (v_i phi(k_i)^T) / D.
  function dual({ phi, query, values }) {
    const D = sum(phi.map((features) => dotted(features, query)));
    const outer = (i) => values[i].map((value) => phi[i].map((feature) => (value * feature) / D));
    const N = phi.length - 1;
    return { D, start: outer(N), steps: range(N).map(outer) };
  }

  // W after the first t demonstrations of an order, and its output at the query.
  const trained = ({ start, steps }, order, t) =>
    order.slice(0, t).reduce((W, i) => W.map((row, a) => row.map((value, j) => value + steps[i][a][j])), start);
  const output = (W, query) => W.map((row) => dotted(row, query));
  const square = (a, b) => sum(a.map((value, j) => (value - b[j]) ** 2));

  // Mean over all orders of the squared error after t of N steps, by its closed form; parts: what the steps add.
  function expected(parts) {
    const N = parts.length;
    const a = sum(parts.map((part) => dotted(part, part)));
    const whole = parts[0].map((_, j) => sum(parts.map((part) => part[j])));
    const b = dotted(whole, whole);
    return range(N + 1).map((t) => ((N - t) / N) * a + (((N - t) * (N - t - 1)) / (N * (N - 1))) * (b - a));
  }

  hand.dual = { dual, trained, output, expected };

  hand.figures.dual = (data) => {
    const model = dual(data);
    const N = model.steps.length;
    const random = hand.randoms(7);
    const goal = output(trained(model, range(N), N), data.query);
    const path = (order) => range(N + 1).map((t) => output(trained(model, order, t), data.query));
    const errors = (points) => points.map((point, t) => [t, square(point, goal)]);
    const mean = expected(model.steps.map((step) => output(step, data.query)));
    const most = Math.max(...trained(model, range(N), N).flat().map(Math.abs));

    return {
      label: "The matrix of the dual model, its output at the query and its error while demonstrations are shown one by one",
      state: { t: 4, order: range(N), past: [] },
      controls: [
        hand.player("t", 0, N, 4, "Play"),
        { kind: "slider", name: "t", label: "Shown", min: 0, max: N },
        {
          kind: "button",
          name: "order",
          label: "Shuffle the order",
          press: (state, changed) => changed({ past: [...state.past, state.order].slice(-12), order: hand.shuffled(N, random) }),
        },
      ],
      draw(state, width) {
        const { t, order } = state;
        const narrow = width < 560;
        const W = trained(model, order, t);
        const parts = [heading(2, 16, "Demonstrations, in the order shown")];
        const chip = Math.min(44, (width - 8) / N);
        order.forEach((i, place) => {
          const seen = place < t;
          parts.push(
            svg("rect", { x: 4 + place * chip, y: 26, width: chip - 4, height: 24, rx: 4, class: seen ? "hand-positive" : "hand-frame" }),
            text(4 + place * chip + chip / 2 - 2, 43, i + 1, seen ? "hand-on" : "hand-tick", { "text-anchor": "middle" }),
          );
        });
        const cell = (width - 40) / W[0].length;
        parts.push(
          heading(2, 84, "The matrix W of the dual model", `${W.length} outputs × ${W[0].length} features`),
          cells(W, 34, 110, cell, { height: 24, top: most }),
          outline(34, 110, cell * W[0].length, 48, "hand-frame"),
          ["1", "2"].map((name, a) => text(26, 127 + 24 * a, name, "hand-tick", { "text-anchor": "end" })),
        );
        // The output at the query: a walk of N steps that ends at attention's output.
        const points = path(order);
        const all = [...points, ...state.past.flatMap(path)];
        const half = narrow ? width : width / 2;
        const ends = (axis) => [Math.min(...all.map((p) => p[axis])), Math.max(...all.map((p) => p[axis]))];
        const [[x0, x1], [y0, y1]] = [ends(0), ends(1)];
        const unit = Math.max((x1 - x0) / (half - 70), (y1 - y0) / 170) * 1.15;
        const around = (low, high, size) => [(low + high) / 2 - (unit * size) / 2, (low + high) / 2 + (unit * size) / 2];
        const plane = panel({
          x: 44, y: 230, width: half - 62, height: 190, xs: around(x0, x1, half - 62), ys: around(y0, y1, 190),
          title: "Output at the query, W φ(q)", ylabel: "output 2", xlabel: "output 1",
        });
        const walked = points.slice(0, t + 1);
        const end = [plane.X(goal[0]), plane.Y(goal[1])];
        parts.push(
          plane.parts,
          state.past.map((past) => curve(plane, path(past), "hand-faint")),
          curve(plane, points.slice(t), "hand-ahead"),
          curve(plane, walked, "hand-a"),
          walked.map(([a, b]) => dot(plane.X(a), plane.Y(b), 3, "hand-mark hand-a")),
          svg("path", { d: `M${end[0] - 7},${end[1]}h14M${end[0]},${end[1] - 7}v14`, class: "hand-line hand-b hand-thick" }),
          dot(plane.X(points[t][0]), plane.Y(points[t][1]), 5.5, "hand-mark hand-a"),
          text(end[0] + (end[0] > half / 2 ? -9 : 9), end[1] - 9, "attention", "hand-word hand-b", { "text-anchor": end[0] > half / 2 ? "end" : "start" }),
          text(plane.X(points[0][0]), plane.Y(points[0][1]) + (plane.Y(points[0][1]) > 230 + 165 ? -11 : 17), "W₀ φ(q)", "hand-word", { "text-anchor": "middle" }),
        );
        const y = narrow ? 230 + 190 + 110 : 230;
        const curves = [errors(points), ...state.past.map((past) => errors(path(past)))];
        const high = 1.08 * Math.max(...curves.flat().map(([, value]) => value), ...mean);
        const area = panel({
          x: (narrow ? 0 : half) + 44, y, width: half - 60, height: 190, xs: [0, N], ys: [0, high],
          title: "Distance from attention", ylabel: "squared error", xlabel: "demonstrations shown (green: steps)",
        });
        const small = mean.map((_, step) => [step, mean[0] * (1 - step / N) ** 2]);
        parts.push(
          area.parts,
          curves.slice(1).map((points) => curve(area, points, "hand-faint")),
          curve(area, mean.map((value, step) => [step, value]), "hand-truth"),
          curve(area, small, "hand-c"),
          curve(area, curves[0], "hand-a"),
          dot(area.X(t), area.Y(curves[0][t][1]), 5, "hand-mark hand-a"),
          // Below the axes, where no curve can be.
          text(plane.x, plane.y + 190 + 50, "━ shown", "hand-word hand-a"),
          text(plane.x + 72, plane.y + 190 + 50, "··· still to come", "hand-word"),
          [["━ this order", "hand-a"], ["- - mean of all orders", ""], ["━ all at once, N steps with rate η/N", "hand-c"]].map(([words, kind], i) =>
            text(area.x, area.y + 190 + 50 + 17 * i, words, `hand-word ${kind}`),
          ),
        );
        return { height: y + 190 + 92, parts };
      },
      say(state) {
        const now = output(trained(model, state.order, state.t), data.query);
        const next = state.order[state.t];
        const pair = (point) => `(${point.map((x) => x.toFixed(4).replace("-", "−")).join(", ")})`; // enough digits for the error
        return (
          `${state.t} of ${N} demonstrations shown${next === undefined ? "" : `, number ${next + 1} comes next`}: output ${pair(now)}, ` +
          `attention ${pair(goal)}, squared error ${square(now, goal) < 1e-20 ? "0, to rounding" : number(square(now, goal))}. ` +
          "The order changes the way, never the end."
        );
      },
    };
  };
}
