"""Sentences of a small grammar for each of the four tasks: what the quick profile learns."""

import random

NOUNS = {"dog": "dogs", "cat": "cats", "bird": "birds", "child": "children", "king": "kings"}
VERBS = {"sees": "see", "likes": "like", "follows": "follow", "hears": "hear"}
PASSIVE = {"sees": "seen", "likes": "liked", "follows": "followed", "hears": "heard"}
ADJECTIVES = ("old", "small", "quiet", "red")
OTHERS = ("the", "near", "is", "are", "by")
VOCABULARY = (*OTHERS, *ADJECTIVES, *NOUNS, *NOUNS.values())
VOCABULARY += (*VERBS, *VERBS.values(), *PASSIVE.values())
SIZES = {"train": 320, "dev": 120, "test": 120}


def read(task: str, split: str) -> tuple[list[str], list[str] | None, list]:
    """Sentences of a split as `glue.read` returns them; the same ones each time."""
    draw = random.Random(f"{task} {split}")
    rows = [MAKERS[task](draw) for _ in range(SIZES[split])]
    *texts, labels = map(list, zip(*rows))
    return texts[0], texts[1] if len(texts) > 1 else None, labels


def _noun(draw: random.Random, plural: bool) -> str:
    noun = draw.choice(list(NOUNS))
    return NOUNS[noun] if plural else noun


def _clause(draw: random.Random) -> tuple[str, str, str]:
    """(subject, verb in the singular, object), two nouns that differ."""
    subject, other = draw.sample(list(NOUNS), 2)
    return subject, draw.choice(list(VERBS)), other


def acceptable(draw: random.Random) -> tuple[str, int]:
    """Does the verb agree with the subject, whatever noun stands between them?"""
    plural, label = draw.random() < 0.5, draw.randrange(2)
    verb = draw.choice(list(VERBS))
    verb = VERBS[verb] if plural == bool(label) else verb
    between = f"near the {_noun(draw, draw.random() < 0.5)} "
    between = between if draw.random() < 0.3 else ""
    return f"the {_noun(draw, plural)} {between}{verb} the {_noun(draw, False)}", label


def paraphrase(draw: random.Random) -> tuple[str, str, int]:
    """Active and passive say the same, unless the roles are swapped."""
    (subject, verb, other), label = _clause(draw), draw.randrange(2)
    passive = (other, subject) if label else (subject, other)
    return (
        f"the {subject} {verb} the {other}",
        f"the {passive[0]} is {PASSIVE[verb]} by the {passive[1]}",
        label,
    )


def similarity(draw: random.Random) -> tuple[str, str, float]:
    """The share of three words that two clauses have in common, each in its place."""
    first, fresh = _clause(draw), _clause(draw)
    second = [old if draw.random() < 0.5 else new for old, new in zip(first, fresh)]
    same = sum(a == b for a, b in zip(first, second)) / 3
    sentences = (
        f"the {subject} {verb} the {other}" for subject, verb, other in (first, second)
    )
    return *sentences, same


def entailment(draw: random.Random) -> tuple[str, str, int]:
    """What is true of an old dog is true of a dog; another noun is another matter."""
    (subject, verb, other), label = _clause(draw), draw.randrange(2)
    told = other if label else draw.choice([n for n in NOUNS if n not in (subject, other)])
    premise = (
        f"the {draw.choice(ADJECTIVES)} {subject} {verb} the {draw.choice(ADJECTIVES)} {other}"
    )
    return premise, f"the {subject} {verb} the {told}", label


MAKERS = {"cola": acceptable, "mrpc": paraphrase, "stsb": similarity, "rte": entailment}
