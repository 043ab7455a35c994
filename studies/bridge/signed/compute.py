"""Heads with negative samples: floors, and losses after a stated budget."""

import math

import pandas as pd
import torch

from iclbook.ridge.heads import one_signed_fits
from iclbook.ridge.population_loss import PopulationLoss
from iclbook.ridge.prompt import sample_dictionary
from iclbook.training import log_steps
from studies.bridge.signed import floors as signed
from studies.bridge.signed.layer import SignedAttention, train_signed


@torch.no_grad()
def floors(settings, point) -> dict[str, pd.DataFrame]:
    """Every floor of one dictionary's tokens and representations, at each noise."""
    s, rows = settings, []
    for tau in s.tau:
        generator = torch.Generator().manual_seed(point["seed"])
        dictionary = sample_dictionary(s.N, point["K"], s.d, s.m, tau, generator=generator)
        loss = PopulationLoss.of(dictionary)
        exact = signed.exact_signed_model(dictionary)
        found = {
            "plain": one_signed_fits(loss)[1].min(dim=0).values.mean(),
            "centred": signed.centred_fits(loss)[1].mean(),
            "lowest": signed.lowest_losses(loss, s.r).mean() if s.r else math.nan,
            "linear": signed.linear_loss(dictionary, loss),
            "explicit": loss(signed.best_centred_model(dictionary)())[0],
            "exact": loss(exact())[0],
            "strength": exact.beta[0],
            "zero": loss(torch.zeros_like(loss.target))[0],
        }
        rows.append({"tau": tau} | {name: float(value) for name, value in found.items()})
    return {"floors": pd.DataFrame(rows)}


def trained(settings, point) -> dict[str, pd.DataFrame]:
    """Train one head count of one kind; see `Trained` for the stop rule."""
    s = settings
    exact, model, optimizer = start(s, point)
    loss = PopulationLoss.of(exact)
    rows = []
    for step, table in train_signed(model, loss, optimizer, s.steps, at=log_steps(s.steps)):
        with torch.no_grad():
            largest = model.scores().softmax(dim=0).amax(dim=0).mean().item()
            betas = [f(model.beta).item() for f in (torch.min, torch.mean, torch.max)]
        rows.append((step, loss(table)[0].item(), largest, *betas))
    columns = ["step", "excess_loss", "largest", "beta_low", "beta_mean", "beta_high"]
    return {"curves": pd.DataFrame(rows, columns=columns)}


def start(settings, point) -> tuple:
    """(dictionary, model, optimiser) of a point, all in float64: in float32 another processor's
    last bits differ by 0.6 % in the loss after 32 steps with Gaussian tokens.

    One seed has one dictionary and, for a number of heads, one Q at the start, whatever the
    kind; both readings of the tokens share their directions.
    """
    s, kind = settings, point["kind"]
    generator = torch.Generator().manual_seed(point["seed"])
    size = s.N, point["K"], s.d, s.m, s.tau
    exact = sample_dictionary(*size, generator=generator, tokens=point["tokens"])
    r = {"none": 0, "lowest": s.r}.get(kind, s.N)
    beta = 0.0 if kind == "learned" else 1.0
    model = SignedAttention(exact, point["H"], generator=generator, r=r, beta=beta)
    learns = [model.Q] + ([model.beta] if kind.startswith("learned") else [])
    groups = [{"params": learns}, {"params": [model.w], "lr": s.faster_w * s.rate}]
    optimizer = torch.optim.Adam(groups, lr=s.rate, fused=True)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5 ** (1 / s.half_life))
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    return exact, model, optimizer
