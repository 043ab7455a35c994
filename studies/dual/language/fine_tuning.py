"""Fine-tunes a BERT on a task of sentences or pairs: the model, the batches, the loop, the
scores."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from transformers import get_linear_schedule_with_warmup

from iclbook.errors import require
from iclbook.training import descend

METRICS: dict[str, Callable] = {  # of (labels, predictions)
    "matthews": matthews_corrcoef,
    "accuracy": accuracy_score,
    "f1": f1_score,
    "pearson": lambda labels, predictions: pearsonr(labels, predictions).statistic,
    "spearman": lambda labels, predictions: spearmanr(labels, predictions).statistic,
}
CHUNK = 50  # batches among which sentences of one length are sought


@dataclass(frozen=True)
class Examples:
    """Sentences or pairs as token numbers, with labels: classes (int) or scores (float)."""

    tokens: list[dict[str, list[int]]]  # each with input_ids and token_type_ids
    labels: np.ndarray  # (n,)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, chosen: Sequence[int]) -> "Examples":
        return Examples([self.tokens[i] for i in chosen], self.labels[list(chosen)])


def encode(tokenizer, first: list[str], second: list[str] | None, labels, longest: int):
    """`Examples` of sentences `first`, or of pairs; cut to `longest` tokens."""
    found = tokenizer(first, second, truncation=True, max_length=longest)
    kinds = found.get("token_type_ids") or [[0] * len(ids) for ids in found["input_ids"]]
    tokens = [
        {"input_ids": ids, "token_type_ids": kind}
        for ids, kind in zip(found["input_ids"], kinds)
    ]
    return Examples(tokens, np.asarray(labels))


def padded(examples: Examples, device: str) -> dict[str, Tensor]:
    """One batch: input_ids, token_type_ids, attention_mask, each (B, N), padded with zeros."""

    def stacked(name: str) -> Tensor:
        rows = [torch.tensor(tokens[name]) for tokens in examples.tokens]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)

    lengths = torch.tensor([len(tokens["input_ids"]) for tokens in examples.tokens])
    ids = stacked("input_ids")
    mask = torch.arange(ids.shape[1]) < lengths.unsqueeze(-1)  # (B, N)
    return {
        "input_ids": ids,
        "token_type_ids": stacked("token_type_ids"),
        "attention_mask": mask.long().to(device),
    }


def bucketed(examples: Examples, batch: int, generator: torch.Generator) -> list[list[int]]:
    """An epoch's batches in random order; sentences of similar length share one."""
    order = torch.randperm(len(examples), generator=generator).tolist()
    batches = []
    for start in range(0, len(order), CHUNK * batch):
        chunk = sorted(
            order[start : start + CHUNK * batch],
            key=lambda i: len(examples.tokens[i]["input_ids"]),
        )
        batches += [chunk[i : i + batch] for i in range(0, len(chunk), batch)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


class SentenceModel(nn.Module):
    """A BERT, the mean over its tokens (padding apart), and a linear layer: (B, N) -> (B,
    outputs)."""

    def __init__(self, bert: nn.Module, outputs: int, generator: torch.Generator):
        super().__init__()
        self.bert, self.head = bert, nn.Linear(bert.config.hidden_size, outputs)
        nn.init.normal_(self.head.weight, std=0.02, generator=generator)
        nn.init.zeros_(self.head.bias)
        self.dropout = nn.Dropout(bert.config.hidden_dropout_prob)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        states = self.bert(**inputs).last_hidden_state  # (B, N, width)
        mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)  # (B, N, 1)
        mean = (states * mask).sum(1) / mask.sum(1)  # (B, width)
        return self.head(self.dropout(mean))


def predictions(
    model: SentenceModel, examples: Examples, batch: int, device: str
) -> np.ndarray:
    """The class, or the score where the model has one output, of each example, (n,). NaN where
    the model diverged."""
    order = sorted(range(len(examples)), key=lambda i: len(examples.tokens[i]["input_ids"]))
    found = np.empty(len(examples))
    model.eval()
    with torch.no_grad():
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            out = model(padded(examples[chosen], device))  # (B, outputs)
            answers = out.argmax(-1) if out.shape[-1] > 1 else out[:, 0]  # (B,)
            found[chosen] = answers.where(out.isfinite().all(-1), torch.nan).cpu()
    model.train()
    return found


def scores(metrics: Sequence[str], labels: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Each named metric; NaN where a prediction is, or where a constant prediction or label
    leaves a correlation open."""
    if not np.isfinite(found).all():
        return dict.fromkeys(metrics, float("nan"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said above
        return {name: float(METRICS[name](labels, found)) for name in metrics}


def loss_of(model: SentenceModel, examples: Examples, device: str) -> Tensor:
    """Cross entropy of classes, or the mean squared error of scores, of one batch."""
    out = model(padded(examples, device))  # (B, outputs)
    labels = torch.from_numpy(examples.labels).to(device)  # (B,)
    if out.shape[-1] > 1:
        return cross_entropy(out, labels)
    return mse_loss(out[:, 0], labels.float())


def _batches(examples: Examples, batch: int, epochs: range, seed: int) -> Iterator[list[int]]:
    for epoch in epochs:
        # Dropout draws from torch's own generator: an epoch gives it a place to start.
        torch.manual_seed(1_000 * seed + epoch)
        order = torch.Generator().manual_seed(1_000 * seed + epoch)
        yield from bucketed(examples, batch, order)


def fine_tune(
    model: SentenceModel,
    examples: Examples,
    *,
    epochs: int,
    batch: int,
    rate: float,
    warmup: float,
    decay: float,
    seed: int,
    device: str = "cpu",
    state: dict | None = None,
) -> Iterator[tuple[int, float, Callable[[], dict]]]:
    """Train by AdamW, the rate rising over a share `warmup` of the steps and then falling to 0;
    yield (epoch, mean training loss, state) after 0, 1, .., `epochs` epochs.

    state: what `state()` of an earlier yield returned; training goes on there in the same bits.
    The order of the sentences and dropout depend on `seed` and the epoch only.
    """
    per_epoch = -(-len(examples) // batch)
    require(per_epoch > 0, "there are no examples to train on")
    steps, start, losses = epochs * per_epoch, state["epoch"] if state else 0, []
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=decay, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, int(warmup * steps), steps)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    if state:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    chosen = _batches(examples, batch, range(start, epochs), seed)

    def gradient() -> Tensor:
        loss = loss_of(model, examples[next(chosen)], device)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        losses.append(loss.detach())
        return losses[-1]

    at, first = range(0, steps + 1, per_epoch), start * per_epoch
    model.train()
    for step in descend(gradient, optimizer, steps, at=at, first=first, schedule=schedule):
        epoch = step // per_epoch
        if state and epoch == start:
            continue  # this one was yielded before the interruption
        mean = torch.stack(losses).mean().item() if losses else float("nan")
        losses.clear()
        yield epoch, mean, partial(_state, epoch, parts)


def _state(epoch: int, parts: dict) -> dict:
    return {"epoch": epoch} | {name: part.state_dict() for name, part in parts.items()}
