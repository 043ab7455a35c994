"""What heads buy, measured: one head against its lower bound, explicit heads, and how well
random heads span."""

from dataclasses import replace

import pandas as pd
import torch

from iclbook.errors import InputError
from iclbook.ridge import heads
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, label_covariance
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.training import log_steps, make_optimizer, train


def one_head(settings, point) -> pd.DataFrame:
    """Columns: K, w_start, seed, start, step, quantity, value; the last step is where the stop
    rule ended.

    Quantities: "excess loss"; "bound, trained signs" (the lower bound for the signs that w has
    then); "share of best signs" and "share of first signs" (tokens whose w has the sign of the
    bound, of the first look). At step 0 also "bound" (the better sign of every token) and, for
    K <= d, "explicit Q" (the excess of the head that attains it).
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(s.N, point["K"], s.d, s.m, s.tau, generator=generator)
    loss = PopulationLoss.of(dictionary)
    fits, losses = heads.one_signed_fits(loss)
    best = losses.argmin(dim=0)  # (K,)
    rows = [(0, "bound", losses.min(dim=0).values.mean().item())]
    if point["K"] <= s.d:
        with torch.no_grad():
            rows.append(
                (0, "explicit Q", loss(heads.best_one_head_model(dictionary)())[0].item())
            )

    generator.manual_seed(1000 * (1 + point["seed"]) + point["start"])
    model = MultiHeadAttention(dictionary, 1, generator=generator)
    if point["w_start"] == "best fit":
        with torch.no_grad():
            model.w.copy_(fits.sum(dim=1).gather(0, best[None]))  # (1, K)
    optimizer = make_optimizer(model, "adam", s.rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=1, threshold=s.improvement
    )
    looks, step, table, running = log_steps(s.max_steps // s.check), 0, model().detach(), True
    while running:
        excess, negative = loss(table)[0].item(), (model.w[0] < 0).long()  # (), (K,)
        first = negative if step <= s.check else first
        if step:
            schedule.step(excess)
        running = step < s.max_steps and optimizer.param_groups[0]["lr"] >= s.last_rate
        if not running or step // s.check in looks:
            rows.append((step, "excess loss", excess))
        if step and (not running or step // s.check in looks):
            rows.append(
                (step, "bound, trained signs", losses.gather(0, negative[None]).mean().item())
            )
            rows.append(
                (step, "share of best signs", (negative == best).double().mean().item())
            )
            rows.append(
                (step, "share of first signs", (negative == first).double().mean().item())
            )
        if running:
            found = []
            train(
                model,
                loss,
                optimizer,
                s.check,
                lambda _, table: found.append(table),
                (s.check,),
            )
            step, table = step + s.check, found[0]
    return pd.DataFrame(rows, columns=["step", "quantity", "value"])


def two_heads(settings, point) -> pd.DataFrame:
    """Columns: seed, part, N, K, d, H, quantity, value.

    Part "construction": "excess loss" of the explicit one-head (over its bound) and two-head
    models, and the tokens' "condition number". Part "count": the "rank" of the table's
    derivative at random Q and w, the "predicted rank" min(N K, effective parameters), and the
    "smallest kept singular value" over the largest.
    """
    s, rows = settings, []
    generator = torch.Generator().manual_seed(point["seed"])
    for K in s.K:
        dictionary = sample_dictionary(s.N, K, s.d, s.m, s.tau, generator=generator)
        loss = PopulationLoss.of(dictionary)
        bound = heads.one_signed_fits(loss)[1].min(dim=0).values.mean()
        with torch.no_grad():
            one, two = (
                heads.best_one_head_model(dictionary)(),
                heads.exact_two_head_model(dictionary)(),
            )
        size = ("construction", s.N, K, s.d)
        rows.append((*size, 1, "excess over the bound", (loss(one)[0] - bound).abs().item()))
        rows.append((*size, 1, "bound", bound.item()))
        rows.append((*size, 2, "excess loss", loss(two)[0].item()))
        rows.append((*size, 2, "condition number", torch.linalg.cond(dictionary.tokens).item()))
    for K in s.count_K:
        for H in s.count_heads:
            generator.manual_seed(1000 * (1 + point["seed"]) + H)
            dictionary = sample_dictionary(
                s.count_N, K, s.count_d, s.m, s.tau, generator=generator
            )
            model = MultiHeadAttention(dictionary, H, generator=generator)
            with torch.no_grad():
                model.w.normal_(generator=generator)
            values = torch.linalg.svdvals(J := heads.table_jacobian(model))
            rank = heads.numerical_rank(values, J.shape).item()
            predicted = min(
                s.count_N * K, heads.effective_parameters(s.count_N, K, s.count_d, H)
            )
            size = ("count", s.count_N, K, s.count_d, H)
            rows += [(*size, "rank", rank), (*size, "predicted rank", predicted)]
            rows.append(
                (*size, "smallest kept singular value", (values[rank - 1] / values[0]).item())
            )
    return pd.DataFrame(rows, columns=["part", "N", "K", "d", "H", "quantity", "value"])


def prop1(settings, point) -> pd.DataFrame:
    """Columns: tokens, seed, beta, H, draw, quantity, value. Each value is the worst over the K
    tokens.

    Quantities: "rank" (numerical, float64) and "smallest singular value" of B_k, which is the
    min(N, H)-th. Draw 0 holds H = 1..2N, the first H heads of one draw; the other draws hold H
    = N and 2N, at beta = 1.
    """
    s, rows = settings, []
    generator = torch.Generator().manual_seed(point["seed"])
    reading = "gaussian" if point["tokens"] == "gaussian" else "unit"
    drawn = sample_dictionary(s.N, s.K, s.d, s.m, s.tau, generator=generator, tokens=reading)
    dictionary = replace(drawn, tokens=altered(drawn.tokens, point["tokens"]))
    covariance = label_covariance(dictionary)
    for draw in range(s.draws):
        for beta in s.betas if draw == 0 and point["tokens"] == "unit" else (1.0,):
            model = MultiHeadAttention(dictionary, 2 * s.N, generator=generator, beta=beta)
            with torch.no_grad():
                B = heads.head_matrices(model.attention(), covariance)  # (K, N, 2N)
            for H in range(1, 2 * s.N + 1) if draw == 0 else (s.N, 2 * s.N):
                values = torch.linalg.svdvals(B[:, :, :H])  # (K, min(N, H))
                rank = heads.numerical_rank(values, (s.N, H)).min().item()
                rows.append((beta, H, draw, "rank", rank))
                rows.append(
                    (beta, H, draw, "smallest singular value", values[:, -1].min().item())
                )
    return pd.DataFrame(rows, columns=["beta", "H", "draw", "quantity", "value"])


def altered(tokens: torch.Tensor, kind: str) -> torch.Tensor:
    """Tokens (d, K) of another kind, made of drawn ones: see `Prop1`. Raises InputError for an
    unknown kind."""
    if kind in ("unit", "gaussian"):
        return tokens
    if kind == "signs":
        return tokens.sign() / tokens.shape[0] ** 0.5
    if kind == "equal":
        return torch.cat([tokens[:, :1], tokens[:, :1], tokens[:, 2:]], dim=1)
    raise InputError(f"tokens must be one of unit, signs, equal, gaussian, got {kind!r}")
