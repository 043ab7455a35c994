"""The still pictures behind the figures that a reader moves: what no script, or paper, shows.

Each function draws the numbers of the figure of its name in one state; matplotlib makes SVG.
"""

import io

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from iclbook import plots

A, B, MUTED = "#0173b2", "#c85200", "0.45"
SIGNED = LinearSegmentedColormap.from_list("signed", [B, "white", A])


def penalties(data: dict):
    """The fit to one prompt at tau = 0.3 and N = 20, with both penalties."""
    Z_all, order, N, tau = np.array(data["features"]), data["order"], 20, 10**-0.5
    (m, K), task = Z_all.shape, np.array(data["tasks"][0])
    shown = order[:N]
    spread = (tau * task @ task) ** 0.5
    y = task @ Z_all[:, shown] + spread * np.array(data["noise"][0])[:N]
    place, Z = (np.arange(K) + 0.5) / K, Z_all[:, shown]
    fig, ax = plots.figure(width=6.4, height=3.2)
    ax.plot(place, task @ Z_all, "--", color=MUTED, label="truth")
    penalties = [("ridge, mτ (transformer,\ntokens not shown)", m * tau, A)]
    penalties += [("ridge, Nτ (Lemma 4)", N * tau, B)]
    for name, penalty, color in penalties:
        fitted = np.linalg.solve(Z @ Z.T + penalty * np.eye(m), Z @ y)
        ax.plot(place, fitted @ Z_all, color=color, label=name)
    ax.plot(place[shown], y, "o", color="black", label="label in the prompt")
    ax.set(xlabel="place x of the token", ylabel="label y")
    ax.set_title(f"One prompt, two templates (N = {N}, m = {m}, τ = {tau:.2g})")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def matrix(ax, rows, title: str, **labels) -> None:
    """Cells of a matrix: blue where positive, orange where negative."""
    top = np.abs(rows).max()
    ax.imshow(rows, cmap=SIGNED, vmin=-top, vmax=top, aspect="auto")
    ax.set_title(title)
    ax.set(xticks=[], yticks=[], **labels)
    ax.grid(False)


def opener(data: dict):
    """The table of the trained model, and what it makes of one prompt."""
    attention, w = np.array(data["attention"]), np.array(data["w"])
    table = np.einsum("hk,hnk->nk", w, attention)  # (N, K)
    y, token = np.array(data["labels"][data["task"]]), np.arange(1, w.shape[1] + 1)
    shown = np.array(data["shown"]) + 1
    fig, axes = plots.figure(1, 2, width=3.9, height=2.9)
    matrix(axes[0], table, "The table: four heads, added", xlabel="token k")
    axes[0].set(xticks=[0, 11, 23], xticklabels=[1, 12, 24], ylabel="token shown in the prompt")
    axes[0].set_yticks(range(len(shown)), shown)
    axes[1].plot(token, data["truth"][data["task"]], "--", color=MUTED, label="truth")
    axes[1].plot(token, y @ table, "o", ms=4, color=A, label="predicted")
    open_dots = dict(mfc="none", color="black", ms=8)
    axes[1].plot(shown, y, "o", **open_dots, label="label in the prompt")
    axes[1].set(xlabel="token k", ylabel="label y", title="Labels times table: prediction")
    axes[1].legend()
    return fig


def converge(data: dict):
    """The table at the start, on the way and at the end, beside the best one."""
    steps, parts = data["steps"], np.array(data["parts"])
    fig, axes = plots.figure(1, 4, width=2.1, height=2.1, sharey=True)
    places = [0, next(i for i, step in enumerate(steps) if step >= 18), len(steps) - 1]
    for ax, i in zip(axes, places):
        matrix(ax, parts[i, 0] - parts[i, 1], f"Step {steps[i]}", xlabel="token k")
    matrix(axes[3], np.array(data["best"]), "A", xlabel="token k")
    axes[0].set_ylabel("shown label")
    return fig


def dual(data: dict):
    """The squared error along the demonstrations in the order of the prompt, and its mean."""
    phi, query, values = (np.array(data[name]) for name in ("phi", "query", "values"))
    kernel = phi @ query
    parts = (kernel / kernel.sum())[:, None] * values  # (N + 1, 2), the query's own last
    N = len(parts) - 1
    steps = np.arange(N + 1)
    left = [np.square(parts[t:N].sum(0)).sum() for t in steps]
    a, b, missing = np.square(parts[:N]).sum(), left[0], N - steps
    mean = missing / N * a + missing * (missing - 1) / (N * (N - 1)) * (b - a)
    fig, ax = plots.figure(width=6.0, height=3.0)
    ax.plot(steps, left, "o-", color=A, label="in the order of the prompt")
    ax.plot(steps, mean, "--", color=MUTED, label="mean of all orders")
    ax.plot(
        steps,
        b * (1 - steps / N) ** 2,
        color="#02735a",
        label="all at once, N steps with rate η/N",
    )
    ax.set(xlabel="demonstrations shown (green: steps)", ylabel="squared error")
    ax.set_title("Distance of the dual model from attention")
    ax.legend()
    return fig


def features(data: dict):
    """Weights with 16 and with 256 features, and the exact ones, at mean ||q + k||^2 = 1."""
    q, k, w = (np.array(data[name]) for name in ("queries", "keys", "directions"))
    maps = {}
    for count in (16, 256):
        phi_q, phi_k = (
            np.exp(x @ w[:count].T - np.square(x).sum(1, keepdims=True) / 2) for x in (q, k)
        )
        maps[f"{count} features"] = phi_q @ phi_k.T
    maps["Exact softmax"] = np.exp(q @ k.T)
    fig, axes = plots.figure(1, 3, width=2.3, height=2.5, sharey=True)
    for ax, (title, kernel) in zip(axes, maps.items()):
        matrix(ax, kernel / kernel.sum(1, keepdims=True), title, xlabel="key")
    axes[0].set_ylabel("query")
    return fig


def signed(data: dict):
    """Softmax weights at four times the scores, and the same less half of their mean on the
    five lowest."""
    scores = 4 * np.array(data["scores"])
    weights = np.exp(scores) / np.exp(scores).sum()
    lowest = np.argsort(scores[:-1], kind="stable")[:5]
    changed = weights.copy()
    changed[lowest] -= 0.5 * weights[:-1].sum() / 5
    fig, ax = plots.figure(width=6.0, height=3.0)
    ax.axhline(0, color="0.3", lw=1)
    ax.plot(scores, weights, "o", mfc="none", color=MUTED, ms=8, label="softmax")
    for sign, color, name in ((changed >= 0, A, "positive"), (changed < 0, B, "negative")):
        ax.plot(scores[sign], changed[sign], "o", color=color, label=f"signed, {name}")
    ax.set(xlabel="similarity of key and query, q · k", ylabel="weight")
    ax.set_title("Weights of one query: r = 5, β = 0.5, α = 0")
    ax.legend()
    return fig


def rates(data: dict):
    """Every run of Adam on the population loss."""
    fig, ax = plots.figure(width=6.4, height=3.2)
    cells = [cell for cell in data["cells"] if cell["panel"] == data["panels"][0]]
    heads = sorted({cell["H"] for cell in cells})
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(heads)))
    for cell in cells:
        style = dict(color=colors[heads.index(cell["H"])], lw=2 if cell["unstable"] else 1)
        style["ls"] = "-" if cell["unstable"] else ":"
        ax.plot(np.array(cell["steps"]) + 1, cell["losses"], **style)
    for H, color in zip(heads, colors):
        ax.plot([], [], color=color, label=f"H = {H}")
    ax.set(xscale="log", yscale="log", xlabel="training step + 1", ylabel="excess loss L − L*")
    ax.set_title("Adam, five rates each; solid: unstable")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def made(data: dict, name: str) -> list:
    """Every value that the lines of a function gave a name, in their order."""
    parts = [part for step in data["steps"] for part in step["makes"]]
    return [np.array(part["rows"]) for part in parts if part["name"] == name]


def numbered(ax, rows, title: str, **labels) -> None:
    """A matrix with its numbers."""
    matrix(ax, rows, title, **labels)
    top = np.abs(rows).max()
    for (i, k), value in np.ndenumerate(rows):
        number = f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
        color = "white" if abs(value) > 0.8 * top else "black"
        ax.text(k, i, number, ha="center", va="center", fontsize=9, color=color)


def forward(data: dict):
    """Each head's weights times its numbers w, their sum, and what the labels make of it."""
    weights, (w,) = made(data, "weights"), made(data, "w")
    (y,), (y_hat,), (best,) = (made(data, name)[0] for name in ("y", "y_hat", "best"))
    fig, axes = plots.figure(2, 2, width=3.6, height=1.9)
    axes = axes.ravel()
    for h, ax in enumerate(axes[:2]):
        numbered(ax, w[h] * weights[h], f"Head h = {h}: w times softmax", xlabel="query k")
    numbered(axes[2], made(data, "table")[-1], "The table: their sum", xlabel="query k")
    for ax in axes[::2]:
        ax.set_ylabel("shown token")
    k = np.arange(1, len(y_hat) + 1)
    axes[3].plot(k[: len(y)], y, "o", mfc="none", color="black", ms=9, label="shown label")
    axes[3].plot(k, best, "x", color=B, ms=7, label="best answer")
    axes[3].plot(k, y_hat, ".", color=A, label="prediction")
    axes[3].margins(0.1)
    axes[3].set(xticks=k, xlabel="query k", title="Labels times table")
    axes[3].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def dual_step(data: dict):
    """The start, the step and the trained matrix, and both answers at the query."""
    (W_0,), (gradient,), (W_1,) = (made(data, name) for name in ("W_0", "gradient", "W_1"))
    (f,), (h,) = made(data, "f"), made(data, "h")
    steps = data["steps"][0]["makes"]
    eta = next(part["value"] for part in steps if part["name"] == "eta")
    parts = {"The start W₀": W_0, "One step, −η∇L(W₀)": -eta * gradient, "W₁, their sum": W_1}
    fig, axes = plots.figure(2, 2, width=3.6, height=1.7)
    axes = axes.ravel()
    for ax, (title, rows) in zip(axes, parts.items()):
        numbered(ax, rows, title, xlabel="feature")
    for ax in axes[::2]:
        ax.set_ylabel("output")
    numbered(axes[3], np.concatenate([f, h]).T, "Answers to the query")
    axes[3].set_xticks([0, 1], ["W₁φ(q)", "attention"])
    return fig


def picture(name: str, data: dict) -> bytes:
    """The still of a figure as SVG, the same bytes for the same numbers."""
    with plt.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        fig, file = globals()[name](data), io.BytesIO()
        fig.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(fig)
    return file.getvalue()
