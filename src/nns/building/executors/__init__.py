"""Where the items of a build run: in this process, in others of this machine, or on a ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from nns.building.executors._base import Executor, WorkerLostError
from nns.building.executors.inline import InlineExecutor
from nns.building.executors.local import LocalExecutor, default_workers
from nns.building.executors.ray import RayExecutor, ray_missing
from nns.building.worker import start_worker
from nns.errors import UnknownNameError, UsageError

EXECUTORS = ("local", "ray")
"""Names that :func:`make_executor` knows."""


def check_executor(name: str, workers: int | None = None, address: str | None = None) -> None:
    """See that the arguments of :func:`make_executor` go together, without importing or connecting to anything.

    Args:
        name: As there.
        workers: As there.
        address: As there; whether a cluster answers is not looked at.

    Raises:
        UnknownNameError: If there is no such executor.
        UsageError: If an argument does not fit it, or ray is not installed.
    """
    if name not in EXECUTORS:
        raise UnknownNameError.among("executor", name, EXECUTORS)
    if workers is not None and workers < 0:
        raise UsageError(f"workers must be 0 or more, not {workers}")
    if name == "local" and address is not None:
        raise UsageError(f"`address` {address} is that of a ray cluster: give `executor` ray as well")
    if name == "ray" and workers != 0 and find_spec("ray") is None:
        raise ray_missing()


def make_executor(
    name: str,
    workers: int | None,
    threads: int = 1,
    address: str | None = None,
    initializer: Callable[[int], None] = start_worker,
    *,
    gpus: bool = True,
) -> Executor:
    """Make an executor.

    Args:
        name: One of :data:`EXECUTORS`.
        workers: Items at the same time; None: as many as there is room for; 0: all in this process, whatever the name.
        threads: Threads of each item.
        address: Of a ray cluster, see :class:`RayExecutor`.
        initializer: Called with ``threads`` in each worker process before its first item.
        gpus: Whether items use the GPUs of a ray cluster.

    Raises:
        UnknownNameError: If there is no such executor.
        UsageError: If an argument does not fit it, ray is not installed, or there is no cluster at the address.
    """
    check_executor(name, workers, address)
    if workers == 0:
        return InlineExecutor()
    if name == "ray":
        return RayExecutor(address, threads, workers, initializer, gpus=gpus)
    return LocalExecutor(workers or default_workers(threads), threads, initializer)


__all__ = [
    "EXECUTORS",
    "Executor",
    "InlineExecutor",
    "LocalExecutor",
    "RayExecutor",
    "WorkerLostError",
    "check_executor",
    "default_workers",
    "make_executor",
]
