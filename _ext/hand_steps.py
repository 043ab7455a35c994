"""Functions that a reader steps through, and what each of their lines computed.

A function is really run, under a line tracer, while the book is built: the page shows its own
source, and beside each line the values that it read and made. A statement fills one line. The
comment above it is the sentence of its step, and behind it stand the sizes of what it makes.
The docstring's first paragraph is the sentence of the call, its second gives the arguments'
sizes.
"""

import ast
import inspect
import re
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

IN_BRACKETS = re.compile(r"\(([^()]+)\)")


def forward(tokens, features, y, Q, w, tau):
    """A prompt: labels y of the first three of five tokens. The features make the labels; the
    model never sees them. The matrices Qₕ and the numbers w of two heads have been trained.

    tokens (d, K), features (m, K), y (N), Q (d, H, d), w (H, K)
    """
    # N tokens are shown, K are to be labelled, from m basis functions.
    N, K, m = len(y), len(tokens.T), len(features)
    # What the prompt shows: tokens V and representations Z, of which the model uses V alone.
    V, Z = tokens[:, :N], features[:, :N]  # (d, N), (m, N)
    # The table ã starts empty: a row for each shown token, a column for each query.
    table = torch.zeros(N, K)  # (N, K)
    # The heads take their turns; the first has number 0.
    for h in range(len(w)):
        # Scores Vᵀ Qₕ vₖ: the head compares every shown token with every query.
        scores = V.T @ Q[:, h] @ tokens  # (N, K)
        # A softmax down each column: positive weights on the shown tokens, with sum 1.
        weights = scores.softmax(dim=0)  # (N, K)
        # Column k is scaled by the head's number wₕₖ, of either sign, and added to the table.
        table = table + w[h] * weights  # (N, K)
    # The prediction ŷₖ = yᵀ ãₖ: labels times table. Labels enter here, and nowhere before.
    y_hat = y @ table  # (K)
    # Now the best answer there is. A shown label shares its noise with itself alone: mτ.
    noise = m * tau * torch.eye(N, K).double()  # (N, K)
    # R, the covariance of the shown labels with all labels: Zᵀ Ẑ, and the noise.
    R = Z.T @ features + noise  # (N, K)
    # The best table A = (ZᵀZ + mτI)⁻¹ R. Where a label is shown, its column copies it.
    A = torch.linalg.solve(R[:, :N], R)  # (N, K)
    # The best answer: a copy of each shown label, and ridge regression for the other tokens.
    best = y @ A  # (K)
    # Side by side: the trained heads come near it, with no weight changed for this prompt.
    return y_hat, best


def dual_step(keys, values, query, eta):
    """Keys and values of three demonstrations; the last pair is the query's own. The query q
    asks. The rate η may be any number above 0.

    keys (N + 1, d), values (N + 1, dᵥ), query (d)
    """
    # Inference. Attention's weights pᵢ: a softmax of the scores kᵢᵀ q.
    p = (keys @ query).softmax(dim=0)  # (N + 1)
    # Attention's output h′: the mean of the values with these weights. Now by training.
    h = p @ values  # (dᵥ)
    # The vectors whose features are needed: all keys, and the query as the last.
    x = torch.cat([keys, query[None]])  # (N + 2, d)
    # The softmax kernel k(x, y) = exp(xᵀ y) of each pair of them.
    kernel = (x @ x.T).exp()  # (N + 2, N + 2)
    # Features, exact for these vectors: rows of a matrix φ with φ φᵀ = kernel.
    phi = torch.linalg.cholesky(kernel)  # (N + 2, N + 2)
    # Features of the keys, φ(kᵢ), and of the query, φ(q).
    phi_k, phi_q = phi[:-1], phi[-1]  # (N + 1, N + 2), (N + 2)
    # The softmax denominator D, the sum of k(kᵢ, q) over all keys.
    D = (phi_k @ phi_q).sum()
    # The start W₀ = v_q φ(k_q)ᵀ / D, of the query's own pair.
    W_0 = torch.outer(values[-1], phi_k[-1]) / D  # (dᵥ, N + 2)
    # A copy of it, for the gradient.
    W = W_0.clone().requires_grad_()  # (dᵥ, N + 2)
    # The model W φ(x) at the keys of the demonstrations.
    outputs = phi_k[:-1] @ W.T  # (N, dᵥ)
    # How far they point the way of the values: Σ vᵢᵀ W φ(kᵢ), over the demonstrations.
    aligned = (values[:-1] * outputs).sum()
    # The loss L(W) = −(1/ηD) Σ vᵢᵀ W φ(kᵢ), linear in W.
    loss = -aligned / (eta * D)
    # Its gradient in W, by automatic differentiation.
    (gradient,) = torch.autograd.grad(loss, W)  # (dᵥ, N + 2)
    # One gradient step, W₁ = W₀ − η ∇L(W₀). The rate cancels.
    W_1 = W_0 - eta * gradient  # (dᵥ, N + 2)
    # The trained model is tested on the query: W₁ φ(q).
    f = W_1 @ phi_q  # (dᵥ)
    # The same numbers: attention's output is the dual model's answer after one step.
    assert torch.allclose(f, h, rtol=1e-12)


@dataclass
class Line:
    """A line of a function that a page shows: its code, its sentence, the sizes behind it."""

    code: str
    say: str = ""
    sizes: tuple[str, ...] = ()


def listing(function) -> dict[int, Line]:
    """{number in the function: line}; docstring and comments say what the lines do."""
    source = inspect.getsource(function)
    tree = ast.parse(source).body[0]
    told = range(tree.body[0].lineno, tree.body[0].end_lineno + 1)
    lines, comment = {}, [" ".join(ast.get_docstring(tree).split("\n\n")[0].split())]
    for number, text in enumerate(source.splitlines(), start=1):
        code, _, sizes = text.partition("  # ")
        if text.strip().startswith("#"):
            comment.append(text.strip("# "))
        elif text.strip() and number not in told:
            lines[number] = Line(code, " ".join(comment), tuple(IN_BRACKETS.findall(sizes)))
            comment = []
    return lines


def statements(function) -> dict[int, ast.stmt]:
    """{number in the function: statement that begins there}."""
    tree = ast.parse(inspect.getsource(function)).body[0]
    return {node.lineno: node for node in ast.walk(tree) if isinstance(node, ast.stmt)}


def trace(function, given: dict) -> list[list]:
    """Run a function; [line, variables before it, variables after it] of the call, which is
    line 1, and then of each line, in the order in which they ran."""
    ran, code, other = [[1, {}, {}]], function.__code__, sys.gettrace()

    def kept(value):
        return value.detach().clone() if isinstance(value, Tensor) else value

    def inside(frame, event, _):
        if event in ("line", "return"):
            now = {name: kept(value) for name, value in frame.f_locals.items()}
            ran[-1][2] = now
            if event == "line":
                ran.append([frame.f_lineno - code.co_firstlineno + 1, now, {}])
        return inside

    sys.settrace(lambda frame, *_: inside if frame.f_code is code else None)
    try:
        function(**given)
    finally:
        sys.settrace(other)
    return ran


def operands(node: ast.AST) -> list[str]:
    """Names, and names with an index, that code reads, in the order of the code."""
    if isinstance(node, ast.Name):
        return [node.id] if isinstance(node.ctx, ast.Load) else []
    whole = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
    parts = [node.slice] if whole else ast.iter_child_nodes(node)
    return [ast.unparse(node)] * whole + [name for part in parts for name in operands(part)]


def stored(node: ast.AST) -> list[str]:
    """Names that a statement makes."""
    names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
    return [part.id for part in names if isinstance(part.ctx, ast.Store)]


def shown(name: str, value, sizes: str = "") -> list[dict]:
    """A value as a page shows it: a number, or rows of numbers; each head by itself. Nothing
    for what is neither number nor tensor."""
    if isinstance(value, Tensor) and value.ndim == 3:
        heads = range(value.shape[1])
        return [part for h in heads for part in shown(f"{name}[:, {h}]", value[:, h])]
    if isinstance(value, Tensor) and value.ndim:
        rows = torch.atleast_2d(value).tolist()
        rows = [[float(f"{x:.4g}") + 0.0 for x in row] for row in rows]  # no minus zero
        return [{"name": name, "sizes": sizes, "shape": list(value.shape), "rows": rows}]
    if isinstance(value, Tensor | int | float):
        return [{"name": name, "value": float(f"{float(value):.4g}")}]
    return []


def walk(function, **given) -> dict:
    """The code of a function, and its steps on these arguments: line, sentence, values read and
    values made."""
    lines, nodes, steps = listing(function), statements(function), []
    places = {number: place for place, number in enumerate(lines)}
    sizes = dict(re.findall(r"(\w+) \(([^()]+)\)", function.__doc__.split("\n\n")[1]))
    ran = trace(function, given)
    for (number, before, after), (following, *_) in zip(ran, [*ran[1:], [0]]):
        node = nodes[number]
        if number == 1:
            read, made = [], list(given)
        elif not isinstance(node, ast.For):
            read, made = operands(node), stored(node)
        elif node.lineno < following <= node.end_lineno:
            read, made = operands(node.iter), stored(node.target)
        else:
            continue  # a loop that is over: its line does nothing
        sizes |= dict(zip(made, lines[number].sizes))
        known = function.__globals__ | before
        read = {name: eval(name, known) for name in dict.fromkeys(read)}
        kinds = {"reads": read, "makes": {name: after[name] for name in made}}
        step = {"line": places[number], "say": lines[number].say}
        for kind, found in kinds.items():
            parts = [shown(name, value, sizes.get(name, "")) for name, value in found.items()]
            step[kind] = [part for some in parts for part in some]
        steps.append(step)
    return {"code": [line.code for line in lines.values()], "steps": steps}
