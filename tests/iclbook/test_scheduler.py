"""`--scheduler`: a dask cluster of real processes gives the same bits, outlives a worker, and
refuses in one line."""

import gc
import os
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import distributed
import pytest

from iclbook import cluster as clusters
from iclbook import runner, unfinished
from iclbook.catalogue import find
from iclbook.errors import InputError
from iclbook.store import Store

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
    """The bytes of a table that is computed now."""
    lemma5 = LEMMA5.variant("quick", draws=draws)
    runner.run(lemma5, "quick", store, seeds=seeds, progress=False, **where)
    return store.file(lemma5, "quick", "losses").read_bytes()


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
    kept, done, keep = [], [], runner.keep

    def note(folder, point, *found):
        keep(folder, point, *found)
        kept.append(point)

    monkeypatch.setattr(runner, "keep", note)
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
    # A function that a worker can import: os._exit(1).
    results = clusters.completed(two_workers.scheduler_address, os._exit, 1, {0: ()})
    with pytest.raises(InputError, match=r"^1 workers died of the same point"):
        list(results)


def test_the_schedulers_death_is_one_line_and_finished_points_are_kept(tmp_path, monkeypatch):
    kept, keep, cluster = [], runner.keep, start(1)

    def note(*found):
        keep(*found)
        kept.append(found)
        if len(kept) == 2:
            cluster.close(timeout=60)

    monkeypatch.setattr(runner, "keep", note)
    store, seeds = Store(tmp_path / "there"), tuple(range(40))
    with pytest.raises(InputError, match="lost the scheduler"):
        stored(store, seeds, 100_000, scheduler=cluster.scheduler_address)
    points = list(store.root.glob(".partial/**/*.point"))
    assert 2 <= len(points) < len(seeds)
    computed, compute_point = [], runner.compute_point
    monkeypatch.setattr(runner, "keep", keep)
    monkeypatch.setattr(
        runner, "compute_point", lambda *task: computed.append(task) or compute_point(*task)
    )
    resumed = stored(store, seeds, 100_000)
    assert len(computed) == len(seeds) - len(points)
    assert resumed == stored(Store(tmp_path / "here"), seeds, 100_000)


def test_a_worker_with_other_code_is_refused(two_workers, tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "versions", lambda: {"torch": "0.1"})
    with pytest.raises(InputError, match="other code or packages"):
        stored(Store(tmp_path), (0,), 1_000, scheduler=two_workers.scheduler_address)


def test_a_worker_with_other_code_anywhere_is_refused(two_workers, tmp_path, monkeypatch):
    def other_code(module):
        return code_behind(module).replace(b"def atomic_write", b"def  atomic_write")

    code_behind = unfinished.code_behind
    assert other_code("iclbook.runner") != code_behind("iclbook.runner")
    monkeypatch.setattr(unfinished, "code_behind", other_code)
    with pytest.raises(InputError, match="other code or packages"):
        stored(Store(tmp_path), (0,), 1_000, scheduler=two_workers.scheduler_address)


def test_a_worker_with_two_threads_is_refused(tmp_path):
    cluster = start(1, threads_per_worker=2, processes=False)
    with cluster, pytest.raises(InputError, match="--nthreads 1"):
        stored(Store(tmp_path), (0,), 1_000, scheduler=cluster.scheduler_address)


def thread(caller):
    return threading.get_ident()


def test_one_worker_does_the_work_itself():
    with start(1, processes=False) as cluster:
        found = dict(clusters.completed(cluster.scheduler_address, thread, (), {0: (), 1: ()}))
    assert found.keys() == {0, 1} and threading.get_ident() not in found.values()


def test_a_scheduler_without_workers_is_refused(monkeypatch):
    monkeypatch.setattr(clusters, "WORKER_SECONDS", 0.1)
    with (
        start(0, processes=False) as cluster,
        pytest.raises(InputError, match="has no worker; start one with"),
    ):
        list(clusters.completed(cluster.scheduler_address, thread, (), {0: ()}))


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


def test_what_answers_but_is_no_scheduler_is_one_line(capfd):
    """A web server takes the connection and answers in words."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for address in (
        f"tcp://127.0.0.1:{server.server_port}",
        "tls://127.0.0.1:9",
        "tcp://a..b:9",
    ):
        with pytest.raises(InputError, match=f"no dask scheduler answers at {address}"):
            list(clusters.completed(address, os._exit, (), {0: ()}))
    gc.collect()
    server.shutdown()
    assert "Traceback" not in capfd.readouterr().err
