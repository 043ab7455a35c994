"""`--scheduler`: a dask cluster of real processes gives the same bits, outlives a worker, and refuses in one line."""

import os
import signal
import socket
import threading
import time

import distributed
import joblib
import pytest

from iclbook import cluster as clusters
from iclbook import runner
from iclbook.errors import InputError
from iclbook.store import Store
from studies.catalogue import find

LEMMA5 = find("yang2024/lemma5")


def start(workers, **settings):
    here = {
        "host": "127.0.0.1",
        "protocol": "tcp",
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": "CRITICAL",
    }
    return distributed.LocalCluster(
        n_workers=workers, **{"threads_per_worker": 1} | here | settings
    )


@pytest.fixture(scope="module")
def two_workers():
    with start(2) as cluster:
        yield cluster


def stored(store, seeds, draws, **where):
    """The bytes of a result that is computed now."""
    runner.run(
        LEMMA5, "quick", store, seeds=seeds, changes={"draws": draws}, progress=False, **where
    )
    return store.path(LEMMA5, "quick", ".csv").read_bytes()


def test_a_cluster_gives_the_bits_of_one_job(two_workers, tmp_path):
    here = stored(Store(tmp_path / "here"), (0, 1, 2), 1_000)
    assert (
        stored(
            Store(tmp_path / "there"), (0, 1, 2), 1_000, scheduler=two_workers.scheduler_address
        )
        == here
    )


def test_killing_a_worker_loses_no_finished_point_and_no_bit(
    two_workers, tmp_path, monkeypatch
):
    kept, done, keep = [], [], runner._keep
    note = lambda folder, point, *found: (keep(folder, point, *found), kept.append(point))  # noqa: E731
    monkeypatch.setattr(runner, "_keep", note)
    seeds, draws, address = tuple(range(8)), 200_000, two_workers.scheduler_address
    where = {"scheduler": address}
    run = threading.Thread(
        target=lambda: done.append(stored(Store(tmp_path / "there"), seeds, draws, **where))
    )
    run.start()
    while not kept:
        assert run.is_alive()
        time.sleep(0.01)
    with distributed.Client(address, set_as_default=False) as client:
        pid = next(iter(client.run(os.getpid).values()))
    os.kill(pid, signal.SIGKILL)
    assert len(kept) < len(seeds), "killed too late to show anything"
    run.join()
    assert sorted(point["seed"] for point in kept) == list(seeds), (
        "each point is computed to its end once"
    )
    assert done == [stored(Store(tmp_path / "here"), seeds, draws)]


def test_a_point_that_kills_its_workers_ends_the_run(two_workers, monkeypatch):
    monkeypatch.setattr(two_workers.scheduler, "allowed_failures", 0)
    with pytest.raises(InputError, match="1 workers died of the same point"):
        with clusters.cluster(two_workers.scheduler_address):
            list(
                joblib.Parallel(return_as="generator_unordered")([joblib.delayed(os._exit)(1)])
            )


def test_a_worker_with_other_code_is_refused(two_workers, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "versions", lambda: {"torch": "0.1"})
    with pytest.raises(InputError, match="other code or packages"):
        stored(Store(tmp_path), (0,), 1_000, scheduler=two_workers.scheduler_address)


def test_a_worker_with_two_threads_is_refused(tmp_path):
    with start(1, threads_per_worker=2, processes=False) as cluster:
        with pytest.raises(InputError, match="--nthreads 1"):
            stored(Store(tmp_path), (0,), 1_000, scheduler=cluster.scheduler_address)


def test_one_worker_does_the_work_itself():
    with start(1, processes=False) as cluster, clusters.cluster(cluster.scheduler_address):
        threads = joblib.Parallel()(joblib.delayed(threading.get_ident)() for _ in range(2))
    assert threading.get_ident() not in threads


def test_a_scheduler_without_workers_is_refused(monkeypatch):
    monkeypatch.setattr(clusters, "WORKER_SECONDS", 0.1)
    with (
        start(0, processes=False) as cluster,
        pytest.raises(InputError, match="has no worker; start one with"),
    ):
        with clusters.cluster(cluster.scheduler_address):
            pass


def test_an_address_nobody_listens_on_is_one_line_and_exit_code_2(
    refusal, tmp_path, monkeypatch
):
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    arguments = ("run", LEMMA5.id, "--profile", "quick", "--store", str(tmp_path))
    assert f"no dask scheduler answers at {address}" in refusal(
        *arguments, "--scheduler", address
    )
    assert "must look like tcp://HOST:PORT" in refusal(*arguments, "--scheduler", "nonsense")
    assert "not both" in refusal(*arguments, "--scheduler", address, "--jobs", "2")
