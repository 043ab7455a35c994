"""What heads buy, measured: one head and its lower bound, explicit heads, random heads."""

import math
from dataclasses import replace

import pandas as pd
import torch

from iclbook.errors import InputError
from iclbook.ridge import heads
from iclbook.ridge.model import MultiHeadAttention
from iclbook.ridge.population_loss import PopulationLoss, label_covariance
from iclbook.ridge.prompt import sample_dictionary
from iclbook.ridge.training import make_optimizer, train
from iclbook.training import log_steps


def one_head(settings, point) -> dict[str, pd.DataFrame]:
    """Train one head until its rate has fallen.

    Beside it the lower bound and, for K <= d, the head that attains it.
    """
    s = settings
    generator = torch.Generator().manual_seed(point["seed"])
    dictionary = sample_dictionary(s.N, point["K"], s.d, s.m, s.tau, generator=generator)
    loss = PopulationLoss.of(dictionary)
    fits, losses = heads.one_signed_fits(loss)  # (2, N, K), (2, K)
    best = losses.argmin(dim=0)  # (K,)
    bounds = {"bound": losses.min(dim=0).values.mean().item(), "explicit_Q": math.nan}
    if point["K"] <= s.d:
        with torch.no_grad():
            explicit = heads.best_one_head_model(dictionary)()  # (N, K)
            bounds["explicit_Q"] = loss(explicit)[0].item()

    generator.manual_seed(1000 * (1 + point["seed"]) + point["start"])
    model = MultiHeadAttention(dictionary, 1, generator=generator)
    if point["w_start"] == "best fit":
        with torch.no_grad():
            model.w.copy_(fits.sum(dim=1).gather(0, best[None]))  # (1, K)
    optimizer = make_optimizer(model, "adam", s.rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=1, threshold=s.improvement
    )

    # Every look may lower the rate; of the looks, few are kept.
    curves, signs, first, kept = [], [], None, log_steps(s.max_steps // s.check)
    every_look = range(0, s.max_steps + 1, s.check)
    for step, table in train(model, loss, optimizer, s.max_steps, at=every_look):
        excess, negative = loss(table)[0].item(), (model.w[0] < 0).long()  # (), (K,)
        first = negative if step <= s.check else first
        if step:
            schedule.step(excess)
        ends = step >= s.max_steps or optimizer.param_groups[0]["lr"] < s.last_rate
        if ends or step // s.check in kept:
            curves.append((step, excess))
            if step:
                own_bound = losses.gather(0, negative[None]).mean()
                shares = [(negative == wanted).double().mean() for wanted in (best, first)]
                signs.append((step, *(number.item() for number in (own_bound, *shares))))
        if ends:
            break
    return {
        "bounds": pd.DataFrame([bounds]),
        "curves": pd.DataFrame(curves, columns=["step", "excess_loss"]),
        "signs": pd.DataFrame(signs, columns=["step", "bound", "best", "first"]),
    }


def two_heads(settings, point) -> dict[str, pd.DataFrame]:
    """Explicit one- and two-head models at several K.

    And the rank of the table's derivative at random Q and w.
    """
    s, construction, count = settings, [], []
    generator = torch.Generator().manual_seed(point["seed"])
    for K in s.K:
        dictionary = sample_dictionary(s.N, K, s.d, s.m, s.tau, generator=generator)
        loss = PopulationLoss.of(dictionary)
        bound = heads.one_signed_fits(loss)[1].min(dim=0).values.mean()
        with torch.no_grad():
            one = loss(heads.best_one_head_model(dictionary)())[0]
            two = loss(heads.exact_two_head_model(dictionary)())[0]
        found = (bound, (one - bound).abs(), two, torch.linalg.cond(dictionary.tokens))
        construction.append((K, *(number.item() for number in found)))
    for K in s.count_K:
        for H in s.count_heads:
            generator.manual_seed(1000 * (1 + point["seed"]) + H)
            size = s.count_N, K, s.count_d
            dictionary = sample_dictionary(*size, s.m, s.tau, generator=generator)
            model = MultiHeadAttention(dictionary, H, generator=generator)
            with torch.no_grad():
                model.w.normal_(generator=generator)
            J = heads.table_jacobian(model)
            values = torch.linalg.svdvals(J)
            rank = heads.numerical_rank(values, J.shape).item()
            predicted = min(s.count_N * K, heads.effective_parameters(*size, H))
            count.append((K, H, rank, predicted, (values[rank - 1] / values[0]).item()))
    columns = ["K", "bound", "distance", "excess_loss", "condition_number"]
    counted = ["K", "H", "rank", "predicted_rank", "smallest_kept"]
    return {
        "construction": pd.DataFrame(construction, columns=columns),
        "count": pd.DataFrame(count, columns=counted),
    }


def prop1(settings, point) -> dict[str, pd.DataFrame]:
    """Ranks and singular values of the worst of the K matrices B_k.

    Draw 0 holds every H, the first H heads of one draw; the others hold N and 2N, at beta = 1.
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
            for H in s.heads if draw == 0 else (s.N, 2 * s.N):
                values = torch.linalg.svdvals(B[:, :, :H])  # (K, min(N, H))
                rank = heads.numerical_rank(values, (s.N, H)).min().item()
                rows.append((beta, H, draw, rank, values[:, -1].min().item()))
    return {"spans": pd.DataFrame(rows, columns=["beta", "H", "draw", "rank", "smallest"])}


def altered(tokens: torch.Tensor, kind: str) -> torch.Tensor:
    """Tokens (d, K) of another kind, made of drawn ones: see `Prop1`.

    Raises InputError for an unknown kind.
    """
    if kind in ("unit", "gaussian"):
        return tokens
    if kind == "signs":
        return tokens.sign() / tokens.shape[0] ** 0.5
    if kind == "equal":
        return torch.cat([tokens[:, :1], tokens[:, :1], tokens[:, 2:]], dim=1)
    raise InputError(f"tokens must be one of unit, signs, equal, gaussian, got {kind!r}")
