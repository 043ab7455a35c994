"""The sentences of the quick profile carry the labels that a reader would give them."""

import re

import pytest

from studies.dual.language import grammar

TASKS = ("cola", "mrpc", "stsb", "rte")
PLURALS = set(grammar.NOUNS.values())


@pytest.mark.parametrize("task", TASKS)
def test_the_same_sentences_each_time_of_known_words_with_mixed_labels(task):
    first, second, labels = grammar.read(task, "train")
    assert (first, second, labels) == grammar.read(task, "train")
    assert first != grammar.read(task, "dev")[0]
    words = set(" ".join(first + (second or [])).split())
    assert words <= set(grammar.VOCABULARY)
    assert len(set(labels)) > 1 and 0.3 < sum(labels) / len(labels) < 0.7
    assert (second is None) == (task == "cola")


def test_a_sentence_is_acceptable_where_subject_and_verb_agree():
    first, _, labels = grammar.read("cola", "train")
    for sentence, label in zip(first, labels):
        words = sentence.split()
        (verb,) = (w for w in words if w in {*grammar.VERBS, *grammar.VERBS.values()})
        agree = (words[1] in PLURALS) == (verb in grammar.VERBS.values())
        assert agree == bool(label), sentence


def test_a_paraphrase_keeps_who_does_what():
    for one, two, label in zip(*grammar.read("mrpc", "train")):
        subject, other = re.fullmatch(r"the (\w+) \w+ the (\w+)", one).groups()
        object_, agent = re.fullmatch(r"the (\w+) is \w+ by the (\w+)", two).groups()
        assert ((subject, other) == (agent, object_)) == bool(label), (one, two)


def test_similarity_is_the_share_of_common_words():
    for one, two, label in zip(*grammar.read("stsb", "train")):
        content = [(a, b) for a, b in zip(one.split(), two.split()) if a != "the"]
        assert label == pytest.approx(sum(a == b for a, b in content) / 3), (one, two)


def test_what_follows_is_the_premise_without_its_adjectives():
    for premise, conclusion, label in zip(*grammar.read("rte", "train")):
        bare = " ".join(w for w in premise.split() if w not in grammar.ADJECTIVES)
        assert (bare == conclusion) == bool(label), (premise, conclusion)
