"""Checks of the chapter *Further tasks*: the pair of Figure 3, equivalence and improvement,
elsewhere."""

from iclbook.claim import Outcome
from studies.dual.trained.tables import FAMILIES, dual_error, improves


def _pair(table, threshold) -> Outcome:
    """Improvement by any modification, provided that every dual model ends at its layer's
    output."""
    outcome = improves(table, FAMILIES, threshold)
    holds = dual_error(table).verdict == "reproduced" and {*FAMILIES, "plain"} <= set(
        table["family"]
    )
    return outcome if holds else Outcome("not reproduced", outcome.measured)


def appendix_trigonometric(tables, threshold) -> Outcome:
    return _pair(tables["ren2024/trigonometric-trained"], threshold)


def appendix_exponential(tables, threshold) -> Outcome:
    return _pair(tables["ren2024/exponential-trained"], threshold)


def appendix_longer_prompts(tables, threshold) -> Outcome:
    """Of the tasks the one with the least improvement."""
    outcomes = [
        _pair(part, threshold) for _, part in tables["ren2024/longer-prompts"].groupby("task")
    ]
    order = ("not reproduced", "partly", "reproduced")
    return min(outcomes, key=lambda outcome: (order.index(outcome.verdict), outcome.measured))


def appendix_transformer_layer(tables, threshold) -> Outcome:
    return _pair(tables["ren2024/transformer-trained"], threshold)


def appendix_two_layers(tables, threshold) -> Outcome:
    return _pair(tables["ren2024/two-layers-trained"], threshold)
