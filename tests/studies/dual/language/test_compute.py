"""A fine-tuned point on the sentences of the grammar."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from iclbook.checkpoint import Checkpoint
from iclbook.errors import InputError
from studies.dual.language import compute, glue, grammar
from studies.dual.language.settings import OF_TASK, RATES

QUICK = dataclasses.replace(OF_TASK["mrpc"].quick, epochs=1)
ORIGINAL = QUICK.points()[0]


@pytest.fixture(scope="module")
def found():
    return compute.fine_tuned(QUICK, ORIGINAL, Checkpoint())


def test_the_held_out_tenth_is_trained_on_by_no_run():
    tokenizer, _ = compute.load(QUICK)
    splits = compute._examples(QUICK, tokenizer)
    sizes = {name: len(part) for name, part in splits.items()}
    assert sizes == {"train": 288, "held_out": 32, "dev": 120, "test": 120}
    whole = compute.encode(tokenizer, *grammar.read("mrpc", "train"), QUICK.longest)
    every = sorted(str(tokens) for tokens in whole.tokens)
    parts = [str(t) for name in ("train", "held_out") for t in splits[name].tokens]
    assert sorted(parts) == every


def test_only_training_sentences_reach_the_loop(monkeypatch):
    tokenizer, _ = compute.load(QUICK)
    splits, seen = compute._examples(QUICK, tokenizer), []
    plain = compute.fine_tune

    def spy(model, examples, **how):
        seen.append(examples)
        return plain(model, examples, **how)

    monkeypatch.setattr(compute, "fine_tune", spy)
    compute.fine_tuned(QUICK, ORIGINAL, Checkpoint())
    assert seen[0].tokens == splits["train"].tokens


def test_the_tables_hold_what_they_say(found):
    scores = found["scores"].set_index(["split", "metric"])
    assert set(scores.index) == {
        (split, metric)
        for split in ("held_out", "dev", "test")
        for metric in ("accuracy", "f1")
    }
    labels = np.array(grammar.read("mrpc", "dev")[2])
    majority = max(labels.mean(), 1 - labels.mean())
    assert scores.loc[("dev", "accuracy"), "constant"] == pytest.approx(majority)
    last = found["curves"].iloc[-1]
    assert last["epoch"] == 1
    assert last["held_out"] == scores.loc[("held_out", "accuracy"), "score"]
    maps = found["maps"].groupby(["layer", "query"])[["before", "after"]].sum()
    assert np.allclose(maps, 1, atol=1e-5)
    assert not np.allclose(found["maps"]["before"], found["maps"]["after"], atol=1e-4)


def test_resamples_are_draws_of_the_dev_set_around_its_score(found):
    part = found["bootstrap"]["score"]
    dev = found["scores"].set_index(["split", "metric"]).loc[("dev", "accuracy"), "score"]
    assert len(part) == QUICK.resamples
    assert abs(part.mean() - dev) < 4 * part.std() / QUICK.resamples**0.5
    expected = (dev * (1 - dev) / 120) ** 0.5
    assert 0.6 * expected < part.std() < 1.5 * expected
    labels = np.arange(10) % 2
    same = [compute._resampled(QUICK, labels, labels * k)["score"] for k in (1, 0)]
    # Paired: one set of examples for both runs.
    draw = np.random.default_rng(compute.RESAMPLE_SEED)
    chosen = draw.integers(10, size=10)
    assert same[0][0] == 1
    assert same[1][0] == accuracy_score(labels[chosen], np.zeros(10))


@pytest.mark.parametrize("changes", [dict(alpha=0.5), dict(c=1.0), dict(r=512, beta=0.5)])
def test_each_strength_reaches_the_model(found, changes):
    other = compute.fine_tuned(QUICK, ORIGINAL | changes, Checkpoint())
    before = [part["maps"]["before"].to_numpy() for part in (found, other)]
    assert (np.abs(before[0] - before[1]).max() > 1e-4) == ("c" not in changes)
    after = [part["maps"]["after"].to_numpy() for part in (found, other)]
    assert np.abs(after[0] - after[1]).max() > 1e-5


def test_a_rate_is_tried_on_the_original_alone():
    quick = RATES["cola"].quick
    tried = dataclasses.replace(quick, epochs=1)
    point = dict(task="mrpc", rate=3e-3, seed=0)
    curves = compute.rates(tried, point, Checkpoint())["curves"]
    wanted = compute.fine_tuned(dataclasses.replace(QUICK, rate=3e-3), ORIGINAL, Checkpoint())[
        "curves"
    ]
    assert curves.drop(columns="seconds").equals(wanted.drop(columns="seconds"))
    slower = compute.rates(tried, point | {"rate": 1e-3}, Checkpoint())["curves"]
    assert slower["training_loss"].iloc[-1] != curves["training_loss"].iloc[-1]


def test_the_seed_reaches_the_training(found):
    other = compute.fine_tuned(QUICK, ORIGINAL | {"seed": 1}, Checkpoint())
    losses = [part["curves"]["training_loss"].iloc[-1] for part in (found, other)]
    assert losses[0] != losses[1]
    again = compute.fine_tuned(QUICK, ORIGINAL, Checkpoint())
    assert again["curves"]["training_loss"].iloc[-1] == losses[0]


def test_a_killed_run_goes_on_to_the_same_tables(tmp_path, monkeypatch):
    longer = dataclasses.replace(QUICK, epochs=3, dropout=0.1)
    whole = compute.fine_tuned(longer, ORIGINAL, Checkpoint())
    path, plain = tmp_path / "point", compute.fine_tune

    def killed(*args, **how):
        for epoch, loss, state in plain(*args, **how):
            yield epoch, loss, state
            if epoch == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(compute, "fine_tune", killed)
    with pytest.raises(KeyboardInterrupt):
        compute.fine_tuned(longer, ORIGINAL, Checkpoint(path, seconds=0))
    monkeypatch.setattr(compute, "fine_tune", plain)
    rest = compute.fine_tuned(longer, ORIGINAL, Checkpoint(path, seconds=0))
    for name, table in whole.items():
        clock = ["seconds"] if name == "curves" else []
        assert table.drop(columns=clock).equals(rest[name].drop(columns=clock)), name


def test_nothing_that_is_not_ours_is_needed_in_the_quick_profile(monkeypatch):
    monkeypatch.delenv("ICLBOOK_GLUE", raising=False)
    assert compute.inputs(QUICK) == {}
    with pytest.raises(InputError, match="ICLBOOK_GLUE"):
        compute.inputs(dataclasses.replace(QUICK, sentences="glue"))


def test_missing_weights_are_one_line(monkeypatch):
    nowhere = dataclasses.replace(QUICK, model="./no-such-folder")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"no weights of '\./no-such-folder'") as caught:
        compute.load(nowhere)
    assert "\n" not in str(caught.value)


def test_every_label_of_glue_has_a_place_in_the_settings():
    for task in glue.TASKS:
        splits = set(OF_TASK[task].tables["scores"].levels["split"])
        assert splits - {"held_out"} == glue.TASKS[task].files.keys() - {"train"}


def test_what_is_verified_trains_nothing():
    """No epoch: attention as it was loaded, and scores of an untrained head."""
    found = compute.fine_tuned(dataclasses.replace(QUICK, epochs=0), ORIGINAL, Checkpoint())
    assert found["curves"]["epoch"].tolist() == [0]
    assert found["curves"]["training_loss"].isna().all()
    assert found["maps"]["before"].equals(found["maps"]["after"])


def test_a_seed_sets_the_new_layer_and_the_maps():
    def made(seed: int, c: float = 1.0):
        _, bert = compute.load(QUICK)
        return compute._model(QUICK, ORIGINAL | {"seed": seed, "c": c}, bert).state_dict()

    one, again, other, plain = made(0), made(0), made(1), made(0, c=0.0)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert torch.equal(one["head.weight"], plain["head.weight"]), "shared by all settings"
    differs = {name for name in one if not torch.equal(one[name], other[name])}
    assert "head.weight" in differs and differs - plain.keys(), "the maps begin elsewhere too"
    assert differs & plain.keys() == {"head.weight"}, "the pretrained weights are the same"


def test_frozen_words_and_single_layers_are_what_the_settings_say():
    def words(frozen: bool) -> bool:
        _, bert = compute.load(QUICK)
        changed = dataclasses.replace(QUICK, frozen_words=frozen)
        compute._model(changed, ORIGINAL, bert)
        return bert.embeddings.word_embeddings.weight.requires_grad

    assert words(False) and not words(True)
    maps = []
    for layers in ((), (0,), (1,)):
        changed = dataclasses.replace(QUICK, epochs=0, layers=layers)
        found = compute.fine_tuned(changed, ORIGINAL | dict(r=3, beta=0.5), Checkpoint())[
            "maps"
        ]
        sums = found.groupby(["layer", "query"])["before"].sum().unstack(0)  # (queries, layers)
        maps.append((sums < 1 - 1e-3).any().tolist())
    assert maps == [[True, True], [True, False], [False, True]]


def test_a_diverged_model_has_no_score():
    tokenizer, bert = compute.load(QUICK)
    model = compute._model(QUICK, ORIGINAL, bert)
    with torch.no_grad():
        model.head.weight.fill_(torch.nan)
    dev = compute._examples(QUICK, tokenizer)["dev"]
    predicted = compute.predictions(model, dev, QUICK.batch, "cpu")
    assert np.isnan(predicted).all()
    found = compute.scores(QUICK.metrics, dev.labels, predicted)
    assert np.isnan(list(found.values())).all()


@pytest.mark.parametrize(
    "changes, says",
    [
        (dict(alphas=(0.0,)), "leave 0 out"),
        (dict(negatives=((3, 0.0),)), "leave 0 out"),
        (dict(alphas=(0.5, 0.50000001)), "are one setting"),
        (dict(negatives=((512, 0.1), (300, 0.1))), "are one setting"),
        (dict(task="foo"), "task is one of"),
        (dict(sentences="foo"), "sentences is one of"),
        (dict(longest=2), "at least 8"),
        (dict(held_out=0.0), "a share"),
        (dict(held_out=2.0), "a share"),
        (dict(warmup=5.0), "a share"),
    ],
)
def test_settings_that_mean_nothing_are_refused_before_a_run(changes, says):
    with pytest.raises(InputError, match=says):
        dataclasses.replace(QUICK, **changes)
    with pytest.raises(InputError, match="tasks are of"):
        dataclasses.replace(RATES["cola"].quick, tasks=("foo",))


def test_settings_may_be_left_out_without_naming_the_best_anew():
    """`verify` and `--set` change one list at a time; a best that is not tried is not run."""
    full = OF_TASK["rte"].full
    fewer = full.changed(alphas=(0.5,), c=())
    ran = {(p["alpha"], p["c"], p["seed"]) for p in fewer.points()}
    assert (0.5, 0.0, 0) in ran and not {(0.1, 0.0, 0), (0.0, 0.1, 0)} & ran
