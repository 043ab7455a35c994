"""Settings of the chapter *Does it hold where the papers stop?*."""

from dataclasses import dataclass
from itertools import product

from iclbook.experiment import Experiment, Measure, Settings, Table, chooses, loose

# How many gradient steps on a prompt's labels a prediction is compared with; 1, 4, 13 and 40
# are the most that one to four layers of moving tokens are worth.
TAKEN = (1, 2, 3, 4, 6, 8, 10, 13, 20, 28, 40)


@dataclass(frozen=True, kw_only=True)
class Rules(Settings):
    """Rules that do not train, on many prompts of each length: N tokens shown, `asked` not.

    Tokens and tasks are standard Gaussian, label noise has the variance d tau.
    """

    N: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    d: int = 8
    tau: float = 0.05
    prompts: int = 5_000
    asked: int = 4
    taken: tuple[int, ...] = TAKEN

    def points(self) -> list[dict]:
        return [{"N": N, "seed": seed} for N, seed in product(self.N, self.seeds)]


@dataclass(frozen=True, kw_only=True)
class OverPrompts(Settings):
    """The depth chapter's encoder, with several numbers of layers, trained on prompts each of
    which has tokens and a task of its own.

    K tokens a prompt, the first N shown. Adam's rate halves every `half_life` steps. A look
    predicts `test_prompts` prompts, and the table of each of `sets` sets of tokens is fitted on
    `set_labels` tasks (a third more are held out). At the end probes are fitted on
    `probe_prompts` prompts, `probe_tokens` tokens of each, and `shift_prompts` prompts of each
    other kind are predicted: of other lengths, other tau, tokens whose standard deviations
    differ by up to `spreads` times, labels times `factors`; none of this for 0 probe prompts.
    A stack of as many layers of linear attention is fitted on `stack_prompts` prompts.
    """

    N: int = 16
    K: int = 32
    d: int = 8
    tau: float = 0.05
    layers: tuple[int, ...] = chooses((1, 2, 3, 4))
    width: int = 128
    feedforward: int = 256
    H: int = 4
    rate: float = 1e-3
    half_life: float = 4_000.0
    batch: int = 32
    steps: int = 20_000
    test_prompts: int = 500
    stack_prompts: int = 1_000
    taken: tuple[int, ...] = TAKEN
    sets: int = 8
    set_labels: int = 240
    probe_prompts: int = loose(600, least=0)
    probe_tokens: int = 4
    shift_prompts: int = 250
    lengths: tuple[int, ...] = (4, 8, 12, 16, 24, 32, 64)
    taus: tuple[float, ...] = (0.0125, 0.05, 0.2, 0.8)
    spreads: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    factors: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)

    def points(self) -> list[dict]:
        return [{"layers": n, "seed": seed} for n, seed in product(self.layers, self.seeds)]


@dataclass(frozen=True, kw_only=True)
class Stacks(Settings):
    """Stacks of linear attention of several numbers of layers, fitted on `stack_prompts`
    prompts from `starts` random starts beside three others, judged on the encoders' test
    prompts and on `more_prompts` others."""

    N: int = 16
    K: int = 32
    d: int = 8
    tau: float = 0.05
    layers: tuple[int, ...] = (1, 2, 3, 4)
    test_prompts: int = 500
    stack_prompts: int = 1_000
    more_prompts: int = 5_000
    starts: int = 20

    def points(self) -> list[dict]:
        return [{"layers": n, "seed": seed} for n, seed in product(self.layers, self.seeds)]


RULES = ("ridge", "one step", "additive", "softmax head", "zero")
TABLES = ("ridge", "one step", "additive")  # the rules that are one table a set of tokens
RUN = ("layers", "seed")
# Float32 training amplifies rounding, as in the chapter on depth: tolerances grow with the
# step, and what is measured after the last one is not compared.
TRAINED = {"rtol": 1e-4, "atol": 5e-4, "scale": "step"}
LAST = {"clock": True}
FITTED = {"rtol": 5e-2, "atol": 1e-3}  # a search that goes on until it cannot improve
ERROR = "mean square, tokens not shown, against the true label"
OFF = "root mean square over that of ridge's predictions of"


def shifted(key: str) -> Table:
    """What a trained model says of prompts of another kind, and what rules made for them do."""
    return Table(
        keys=(*RUN, key),
        measures={
            "error": Measure(f"the model's {ERROR}", **LAST),
            "ridge": Measure("that of ridge, with the penalty of these prompts", **LAST),
            "same_ridge": Measure("that of ridge with the penalty of training", **LAST),
            "one_step": Measure("that of one step at the best rate for them", **LAST),
            "zero": Measure("that of predicting zero", **LAST),
            "distance": Measure(f"{OFF} the model less ridge", **LAST),
        },
    )


SEEN = {
    "curves": Table(
        keys=(*RUN, "step"),
        measures={
            "error": Measure(ERROR, **TRAINED),
            "stack": Measure(f"{OFF} the model less the stack", rtol=5e-2, atol=2e-3),
            "nonlinear_share": Measure(
                "what the closest table of a set of tokens leaves of y^", **TRAINED
            ),
            "filter_share": Measure(
                "share of these tables that is a polynomial of the Gram matrix, median",
                **TRAINED,
            ),
        },
    ),
    "rules": Table(
        keys=(*RUN, "step", "rule"),
        levels={"rule": RULES},
        measures={"distance": Measure(f"{OFF} the model less the rule", **TRAINED)},
    ),
    "taken": Table(
        keys=(*RUN, "step", "taken"),
        levels={"taken": "taken"},
        measures={
            "one_rate": Measure("least distance of steps at one rate", **TRAINED),
            "free": Measure("that of as many gradients with any weights", **TRAINED),
        },
    ),
    "weights": Table(
        keys=(*RUN, "step", "rule"),
        levels={"rule": TABLES},
        measures={
            "distance": Measure("of the closest tables from the rule's, relative", **TRAINED),
            "cosine": Measure("of the closest tables and the rule's", **TRAINED),
        },
    ),
    "stacks": Table(
        keys=RUN,
        measures={
            "error": Measure(f"{ERROR}, of a stack with as many layers", **FITTED),
            "distance": Measure(f"{OFF} the stack less ridge", **FITTED),
            "steps_alone": Measure("its error if its tokens may not move", **FITTED),
        },
    ),
    "references": Table(
        keys=(*RUN, "rule"),
        levels={"rule": RULES},
        measures={
            "error": Measure(f"{ERROR}; the model's test prompts"),
            "distance": Measure(f"{OFF} the rule less ridge"),
        },
    ),
    "reference_steps": Table(
        keys=(*RUN, "taken"),
        levels={"taken": "taken"},
        measures={
            "error": Measure(f"{ERROR}, at the best rate; the model's test prompts"),
            "distance": Measure(f"{OFF} the steps at the nearest rate less ridge"),
        },
    ),
}
INSIDE = {
    "gains": Table(
        keys=(*RUN, "token_set", "direction"),
        measures={
            "eigenvalue": Measure("s_j^2, of the Gram matrix of the tokens shown", **LAST),
            "gain": Measure("s_j^2 q(s_j^2) of the filter nearest to the table", **LAST),
        },
    ),
    "probes": Table(
        keys=(*RUN, "layer"),
        measures={
            "truth": Measure("R^2 of the true label, held-out prompts", **LAST),
            "ridge": Measure("R^2 of the ridge prediction", **LAST),
            "coefficients": Measure("R^2 of the ridge coefficients, mean", **LAST),
            "control": Measure("R^2 of another prompt's ridge prediction", **LAST),
            "error": Measure("what the probe for the true label leaves, over zero's", **LAST),
        },
    ),
    "probe_steps": Table(
        keys=(*RUN, "layer", "taken"),
        levels={"taken": "taken"},
        measures={"r2": Measure("R^2 of the prediction after these steps", **LAST)},
    ),
    "decoded": Table(
        keys=(*RUN, "layer", "rule"),
        levels={"rule": RULES},
        measures={"distance": Measure(f"{OFF} the probe for the label less the rule", **LAST)},
    ),
    "decoded_steps": Table(
        keys=(*RUN, "layer", "taken"),
        levels={"taken": "taken"},
        measures={"one_rate": Measure("the same, steps at the nearest rate", **LAST)},
    ),
    "lengths": shifted("N"),
    "noises": shifted("tau"),
    "spreads": shifted("spread"),
    "factors": shifted("factor"),
}

EXPERIMENTS = (
    Experiment(
        id="bridge/prompt-rules",
        item="Over prompts (ours: rules)",
        chapter="bridge/over_prompts",
        function="studies.bridge.over_prompts.compute:rules",
        tables={
            "errors": Table(
                keys=("N", "seed", "rule"),
                levels={"rule": RULES},
                measures={
                    "error": Measure(ERROR, rtol=1e-5),
                    "standard_error": Measure("of the mean over prompts", rtol=1e-5),
                    "exact": Measure("in closed form; NaN without one", missing=True),
                },
            ),
            "steps": Table(
                keys=("N", "seed", "taken"),
                levels={"taken": "taken"},
                measures={
                    "error": Measure(f"{ERROR}, at the best rate", rtol=1e-5),
                    "rate": Measure("the best rate", rtol=1e-2),
                },
            ),
        },
        full=Rules(seeds=(0, 1, 2, 3, 4)),
        quick=Rules(N=(2, 4, 8), d=3, prompts=400, taken=(1, 2, 4)),
        verify=dict(seeds=(0,)),
    ),
    Experiment(
        id="bridge/trained-over-prompts",
        item="Over prompts (ours: trained)",
        chapter="bridge/over_prompts",
        function="studies.bridge.over_prompts.compute:trained",
        tables=SEEN | INSIDE,
        full=OverPrompts(seeds=(0, 1, 2)),
        quick=OverPrompts(
            N=6,
            K=12,
            d=2,
            layers=(1, 2),
            width=16,
            feedforward=16,
            H=2,
            rate=1e-2,
            half_life=60.0,
            batch=32,
            steps=150,
            test_prompts=60,
            stack_prompts=60,
            taken=(1, 2, 4, 8),
            sets=3,
            set_labels=60,
            probe_prompts=60,
            probe_tokens=2,
            shift_prompts=40,
            lengths=(4, 6, 12),
            taus=(0.05, 0.2),
            spreads=(1.0, 4.0),
            factors=(0.5, 1.0, 2.0),
        ),
        verify=dict(steps=10, seeds=(0,), layers=(1,), probe_prompts=0),
    ),
    Experiment(
        id="bridge/stacks",
        item="Over prompts (ours: stacks of linear attention, many starts)",
        chapter="bridge/over_prompts",
        function="studies.bridge.over_prompts.compute:stacks",
        tables={
            "errors": Table(
                keys=RUN,
                measures={
                    "fitted": Measure(f"{ERROR}; the prompts that it was fitted on", **FITTED),
                    "error": Measure(f"{ERROR}; the encoders' test prompts", **FITTED),
                    "error_many": Measure(f"{ERROR}; many other prompts", **FITTED),
                    "ridge_many": Measure("that of ridge on all of them", rtol=1e-5),
                    "first_rate": Measure("first rate over that of the best step", **FITTED),
                },
            ),
        },
        full=Stacks(seeds=(0, 1, 2)),
        quick=Stacks(
            N=6,
            K=12,
            d=2,
            layers=(1, 2),
            test_prompts=60,
            stack_prompts=60,
            more_prompts=200,
            starts=2,
        ),
        verify=dict(layers=(1, 2), seeds=(0,)),
    ),
)
