// Ridge regression with the transformer's penalty m tau and with Lemma 4's N tau.
{
  const { range, sum, dotted, column, solver, number, panel, curve, line, dot, text } = hand;

  // What one prompt is: its shown features Z (m, N) and its noisy labels.
  const prompt = (data, task, N, tau) => {
    const shown = data.order.slice(0, N);
    const lambda = data.tasks[task];
    const spread = Math.sqrt(tau * dotted(lambda, lambda));
    const clean = (k) => dotted(lambda, column(data.features, k));
    return { shown, Z: data.features.map((row) => shown.map((k) => row[k])), y: shown.map((k, i) => clean(k) + spread * data.noise[task][i]) };
  };

  // The matrix Z Z^T + penalty I, ready to be solved.
  const ridge = (Z, penalty) => solver(Z.map((a, i) => Z.map((b, j) => dotted(a, b) + (i === j ? penalty : 0))));

  // Predictions for all tokens: z^T (Z Z^T + penalty I)^{-1} Z y.
  function fit(data, { Z, y }, penalty) {
    const lambda = ridge(Z, penalty)(Z.map((row) => dotted(row, y)));
    return range(data.features[0].length).map((k) => dotted(lambda, column(data.features, k)));
  }

  // The expected squared error against the truth, mean over the tokens not shown, over tasks and noise:
  // with u = (Z Z^T + c I)^{-1} z it is c^2 |u|^2 + m tau |Z^T u|^2.
  function error(data, N, tau, penalty) {
    const Z = data.features.map((row) => data.order.slice(0, N).map((k) => row[k]));
    const solve = ridge(Z, penalty);
    const noise = data.features.length * tau;
    const each = data.order.slice(N).map((k) => {
      const u = solve(column(data.features, k));
      const back = range(N).map((i) => dotted(u, column(Z, i)));
      return penalty ** 2 * dotted(u, u) + noise * dotted(back, back);
    });
    return sum(each) / each.length;
  }

  hand.penalties = { prompt, fit, error };

  hand.figures.penalties = (data) => {
    const m = data.features.length;
    const K = data.features[0].length;
    const [first, last] = [2, data.longest];
    const tauOf = (state) => 10 ** state.tau;
    const truths = data.tasks.map((lambda) => range(K).map((k) => dotted(lambda, column(data.features, k))));

    return {
      label: "Ridge regression with two penalties: the fit to one prompt, and the ratio of their expected errors against the prompt length",
      state: { tau: -0.5, N: 20, task: 0 },
      controls: [
        { kind: "slider", name: "tau", label: "Noise τ", min: -3, max: 0, step: 0.05, say: (value) => number(10 ** value, 2) },
        { kind: "slider", name: "N", label: "Prompt length N", min: first, max: last },
        { kind: "button", name: "task", label: "New task", press: (state, changed) => changed({ task: (state.task + 1) % data.tasks.length }) },
      ],
      draw(state, width) {
        const [tau, { N, task }, narrow] = [tauOf(state), state, width < 560];
        const half = narrow ? width : width / 2;
        const shown = prompt(data, task, N, tau);
        const fits = [m * tau, N * tau].map((penalty) => fit(data, shown, penalty));
        const top = 1.5 * Math.max(...truths[task].map(Math.abs));
        const place = (k) => (k + 0.5) / K;
        const left = panel({
          x: 36, y: 46, width: half - 52, height: 210, xs: [0, 1], ys: [-top, top],
          title: "One prompt, two templates", ylabel: "label y", xlabel: "place x of the token",
        });
        const clipped = (value) => hand.clamp(value, -top, top);
        const along = (values) => values.map((value, k) => [place(k), clipped(value)]);
        const y = narrow ? 46 + 210 + 144 : 46;
        const lengths = range(last - first + 1, first);
        const ratios = lengths.map((n) => [n, error(data, n, tau, n * tau) / error(data, n, tau, m * tau)]);
        const most = Math.max(1.1, ...ratios.map(([, ratio]) => ratio));
        const right = panel({
          x: (narrow ? 0 : half) + 44, y, width: half - 60, height: 210, xs: [first, last], ys: [1 - 0.1 * (most - 1), 1 + 1.1 * (most - 1)],
          title: "What the other penalty costs", ylabel: "error with Nτ / error with mτ", xlabel: "prompt length N",
        });
        const ratio = ratios[N - first][1];
        // Below the axes, where no data can be.
        const key = [["hand-a", "━ ridge, mτ (transformer, tokens not shown)"], ["hand-b", "━ ridge, Nτ (Lemma 4)"], ["", "● label in the prompt   - - truth"]];
        const parts = [
          left.parts,
          curve(left, along(truths[task]), "hand-truth"),
          curve(left, along(fits[1]), "hand-b"),
          curve(left, along(fits[0]), "hand-a"),
          shown.y.map((value, i) => dot(left.X(place(shown.shown[i])), left.Y(clipped(value)), 4, "hand-dot")),
          key.map(([kind, words], i) => text(left.x, left.y + left.height + 50 + 17 * i, words, `hand-word ${kind}`)),
          right.parts,
          line(right.X(m), right.y, right.X(m), right.y + 210, "hand-rule"),
          text(right.X(m) + 5, right.y + 12, `N = m = ${m}`, "hand-word"),
          text(right.x, y + 210 + 50, `the first N of K = ${K} tokens in one random order`, "hand-word"),
          curve(right, lengths.map((n) => [n, 1]), "hand-a"),
          curve(right, ratios, "hand-b"),
          dot(right.X(N), right.Y(1), 5, "hand-mark hand-a"),
          dot(right.X(N), right.Y(ratio), 5, "hand-mark hand-b"),
        ];
        return { height: y + 210 + (narrow ? 58 : 92), parts };
      },
      say(state) {
        const tau = tauOf(state);
        const [own, best] = [m, state.N].map((factor) => error(data, state.N, tau, factor * tau));
        const verdict =
          state.N === m ? "they are one predictor" : `the transformer shrinks ${state.N < m ? "more" : "less"} than Lemma 4's template`;
        return (
          `N = ${state.N}, m = ${m}, τ = ${number(tau, 2)}: penalties mτ = ${number(m * tau)} and Nτ = ${number(state.N * tau)}; ${verdict}. ` +
          `Expected squared error on tokens not shown: ${number(own)} with mτ, ${number(best)} with Nτ.`
        );
      },
    };
  };
}
