"""A dask.distributed cluster in place of this machine's cores: `iclbook run --scheduler
ADDRESS`."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError

from distributed import Client, KilledWorker, as_completed, rpc
from distributed.comm import CommClosedError

from iclbook.errors import InputError, require

CONNECT_SECONDS, WORKER_SECONDS = 3, 10


def completed(
    address: str, function: Callable, caller: tuple, tasks: dict[int, tuple]
) -> Iterator[tuple[int, tuple]]:
    """(number, function(caller, *task)) of each task, as the cluster at `address` finishes
    them.

    A result is taken from its worker as soon as it is there; the task of a worker that dies is
    given to another. Raises InputError where nobody listens, where there is no worker, and
    where the cluster fails.
    """
    return _taken(_connected(address), address, function, caller, tasks)


def _taken(
    client: Client, address: str, function, caller, tasks
) -> Iterator[tuple[int, tuple]]:
    with client:
        futures = {
            client.submit(function, caller, *task, pure=False): number
            for number, task in tasks.items()
        }
        try:
            for future in as_completed(futures, loop=client.loop):
                yield futures[future], future.result()
                future.release()
        except KilledWorker as error:
            died = f"{error.allowed_failures + 1} workers died of the same point"
            raise InputError(
                f"{died}, for lack of memory perhaps; finished points are kept, mend the "
                "workers and run again"
            ) from None
        except (CancelledError, CommClosedError):
            raise InputError(
                f"lost the scheduler at {address}; finished points are kept, run again"
            ) from None


def _connected(address: str) -> Client:
    """A client of the scheduler at `address`, which has a worker that can run the book's
    code."""
    logging.getLogger("distributed.client").setLevel(
        logging.CRITICAL
    )  # what it reports is raised here, in one line
    like = r"((tcp|tls)://)?[^\s/]+:\d{1,5}"
    require(
        bool(re.fullmatch(like, address)),
        f"--scheduler must look like tcp://HOST:PORT, got {address!r}",
    )
    try:  # before there is a client, which complains once more when it is given up
        asyncio.run(asyncio.wait_for(_answers(address), CONNECT_SECONDS))
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except Exception:  # whatever is there may answer anything
        raise InputError(
            f"no dask scheduler answers at {address}; start one with `dask scheduler`"
        ) from None
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
        client.run(_ready)  # a worker that is not would die of its first point
    except TimeoutError:
        client.close()
        start = f"`dask worker {address} --nthreads 1`"
        raise InputError(
            f"the scheduler at {address} has no worker; start one with {start}"
        ) from None
    except ModuleNotFoundError as error:
        client.close()
        raise InputError(
            f"a worker has no package {error.name}; install requirements.txt where it runs"
        ) from None
    return client


async def _answers(address: str) -> None:
    async with rpc(address) as scheduler:
        await scheduler.identity()


def _ready() -> None:
    """On a worker: import what a point needs."""
    import iclbook.runner  # noqa: F401
    from iclbook.catalogue import studies

    studies()
