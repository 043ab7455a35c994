"""Checks of the chapter *Further tasks*: the pair of Figure 3, equivalence and improvement,
elsewhere."""

from iclbook.claim import Outcome
from studies.dual.trained.tables import FAMILIES, conditions, dual_error, improves

ORDER = ("not reproduced", "partly", "reproduced")


def _pair_of(result, threshold) -> Outcome:
    """Improvement by any modification, provided that every dual model ends at its layer's
    output."""
    outcome = improves(result, FAMILIES, threshold)
    holds = dual_error(result).verdict == "reproduced"
    return outcome if holds else Outcome("not reproduced", outcome.measured)


def pair(results, threshold) -> Outcome:
    """The pair of the claim's one experiment: of its tasks the one with the least
    improvement."""
    (result,) = results.values()
    outcomes = [_pair_of(part, threshold) for part in conditions(result).values()]
    return min(outcomes, key=lambda outcome: (ORDER.index(outcome.verdict), outcome.measured))
