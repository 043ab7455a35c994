"""Settings of the chapter *Training without sampling*."""

from dataclasses import dataclass

from iclbook.experiment import Experiment, Measure, Settings, Table


@dataclass(frozen=True, kw_only=True)
class Lemma5(Settings):
    """Loss of random tables: closed form against Monte Carlo."""

    N: int = 4
    K: int = 9
    d: int = 5
    m: int = 3
    tau: float = 0.3
    draws: int = 2_000_000


EXPERIMENTS = (
    Experiment(
        id="yang2024/lemma5",
        item="Lemma 5",
        chapter="ridge/population_loss",
        function="studies.ridge.population_loss.compute:lemma5",
        full=Lemma5(seeds=(0, 1, 2, 3, 4)),
        quick=Lemma5(seeds=(0, 1), draws=100_000),
        verify=dict(seeds=(0,)),
        tables={
            "losses": Table(
                keys=("seed", "weights"),
                levels={"weights": ("best", "random", "zero")},
                measures={
                    "closed_form": Measure("L* + excess of the table of weights", rtol=1e-9),
                    "without_m_tau": Measure(
                        "the same, m tau dropped for k > N, as the paper's appendix D.3 has it",
                        rtol=1e-9,
                    ),
                    "simulated": Measure("Monte Carlo mean of the loss", rtol=1e-9),
                    "standard_error": Measure("of that mean", rtol=1e-6),
                },
            ),
        },
    ),
)
