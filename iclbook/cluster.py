"""A dask.distributed cluster in place of this machine's cores, by way of joblib: `iclbook run --scheduler ADDRESS`."""

import logging
import re
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

import joblib
from distributed import Client, KilledWorker
from distributed.comm import CommClosedError
from joblib._dask import DaskDistributedBackend

from iclbook.errors import InputError, require

CONNECT_SECONDS, WORKER_SECONDS = 3, 10


class ClusterBackend(DaskDistributedBackend):
    """joblib's backend for dask, mended in two places.

    By itself it waits for ever on a task that dask has given up, and it leaves all work to the calling process where
    the cluster has one worker.
    """

    def effective_n_jobs(self, n_jobs):
        """Workers' threads, at least two: joblib takes one to mean the calling process."""
        return max(2, super().effective_n_jobs(n_jobs))

    def submit(self, func, callback=None):
        """Hand over a task; an error of the cluster reaches the callback as the task's own error does."""
        future = super().submit(func, callback)
        future.add_done_callback(lambda done: done.exception() and callback(done.exception()))
        return future


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Inside the block, joblib hands its work to the cluster whose scheduler listens at `address`.

    Raises InputError where nobody listens, where there is no worker, and where the cluster fails.
    """
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it reports is raised here, in one line
    like = r"((tcp|tls)://)?[^\s/]+:\d{1,5}"
    require(re.fullmatch(like, address), f"--scheduler must look like tcp://HOST:PORT, got {address!r}")
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError):
        raise InputError(f"no dask scheduler answers at {address}; start one with `dask scheduler`") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
            client.run(exec, "import iclbook.runner", {})  # a worker that cannot would die of its first point
        except TimeoutError:
            start = f"`dask worker {address} --nthreads 1`"
            raise InputError(f"the scheduler at {address} has no worker; start one with {start}") from None
        except ModuleNotFoundError as error:
            raise InputError(f"a worker has no package {error.name}; install requirements.txt where it runs") from None
        try:
            with joblib.parallel_config(backend=ClusterBackend(client=client)):
                yield
        except KilledWorker as error:
            died = f"{error.allowed_failures + 1} workers died of the same point, for lack of memory perhaps"
            raise InputError(f"{died}; finished points are kept, mend the workers and run again") from None
        except (CancelledError, CommClosedError):
            raise InputError(f"lost the scheduler at {address}; finished points are kept, run again") from None
