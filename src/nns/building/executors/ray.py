"""Items on the machines of a ray cluster."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from functools import partial
from typing import Any

from nns.building.executors._base import RETRIES, Executor, T, WorkerLostError
from nns.building.worker import start_worker
from nns.errors import UsageError

CONNECT_SECONDS = 10.0
"""How long a machine may take to answer at the address of a cluster."""

ANSWER_SECONDS = 120.0
"""How long a machine may take to start a process and describe itself."""

CANCEL_SECONDS = 10.0
"""How long cancelled items may take to end before they are no longer waited for."""

TOKEN_HINT = (
    "if one runs there, it may want a token: set RAY_AUTH_MODE=token, and give what `ray get-auth-token` prints "
    "on its first machine in RAY_AUTH_TOKEN or ~/.ray/auth_token"
)
"""Names of ray 2.60. Ray itself does not say that it was refused for its token."""


class RayExecutor(Executor):
    """Runs each item as a task of ray, which places it, and runs it again when its worker process or machine dies.

    All machines need nns, the same versions, and the paths that the items name. A ray that was started in this
    process before is used as it is, and is not shut down.

    Args:
        address: Of a cluster, to which it connects at once, ``"auto"`` for the one that this machine belongs to;
            None: start one on this machine before the first item, that ends with the executor.
        threads: Threads of each item, and CPUs that ray sets aside for it: all of the largest machine if that has
            fewer.
        workers: Items at the same time; None: as many as the machines have CPUs for, and GPUs, at that moment.
        initializer: Called with ``threads`` in each worker process before its first item.
        retries: How often an item is run again whose worker process or machine died.
        gpus: Whether items need a GPU where the cluster has any: one each, or the share of one with which
            ``workers`` of them fit.

    Raises:
        UsageError: If ray is not installed, or there is no cluster at the address that lets this process in.
    """

    name = "ray"

    def __init__(
        self,
        address: str | None,
        threads: int = 1,
        workers: int | None = None,
        initializer: Callable[[int], None] = start_worker,
        retries: int = RETRIES,
        gpus: bool = True,
    ) -> None:
        self._ray = _import_ray(retries)
        self._address, self._threads, self._workers, self._retries = address, threads, workers, retries
        self._wants_gpus = gpus
        self._prepare = partial(_prepare, initializer, threads)
        self._running: dict[Future[Any], Any] = {}
        self._started = False
        self._task: Any = None
        if address is not None:
            self._start()

    def _start(self) -> None:
        """Connect to ray, or start it, and set up the task, unless that is done."""
        if self._task is not None:
            return
        self._started = not self._ray.is_initialized()
        if self._started:
            _connect(self._ray, self._address, self._threads, self._workers)
        largest = max((node.get("CPU", 0.0) for node in self._nodes()), default=0.0)
        self._cpus = min(self._threads, largest) if largest >= 1 else self._threads
        found = sum(node.get("GPU", 0.0) for node in self._nodes()) if self._wants_gpus else 0.0
        # ray counts in 1/10,000, so rounded down: 6 × 0.1667 would be more than one GPU
        self._gpus = 10_000 // math.ceil((self._workers or 1) / found) / 10_000 if found else 0.0
        self._task = self._ray.remote(_run).options(
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            max_retries=self._retries,
            retry_exceptions=False,
            scheduling_strategy="SPREAD",
        )

    @property
    def elsewhere(self) -> bool:  # type: ignore[override]
        """Whether it was given a cluster, which may have other machines."""
        return self._address is not None

    @property
    def slots(self) -> int:
        """``workers``, or what the machines that are there now have room for."""
        self._start()
        return self._workers or max(1, sum(map(self._room, self._nodes())))

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Run ``function(*args)`` on the machine that ray chooses."""
        self._start()
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        task = self._task.remote(self._prepare, function, args)
        self._running[future] = task
        task.future().add_done_callback(partial(self._settle, future))
        return future

    def on_each_machine(self, function: Callable[..., T], *args: Any) -> dict[str, T | BaseException]:
        """Run ``function(*args)`` on each machine but this one, all at a time."""
        self._start()
        if not self.elsewhere:
            return {}
        place = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        here = self._ray.get_runtime_context().get_node_id()
        tasks = {
            node["NodeManagerAddress"]: self._ray.remote(_call)
            .options(num_cpus=0, max_retries=0, scheduling_strategy=place(node["NodeID"], soft=False))
            .remote(function, args)
            for node in self._ray.nodes()
            if node["Alive"] and node["NodeID"] != here
        }
        found: dict[str, T | BaseException] = {}
        for address, task in tasks.items():
            try:
                found[address] = self._ray.get(task, timeout=ANSWER_SECONDS)
            except self._ray.exceptions.GetTimeoutError:
                found[address] = TimeoutError(f"no answer in {ANSWER_SECONDS:.0f} s")
            except self._ray.exceptions.RayError as error:
                found[address] = self._own_error(error)
        return found

    def shutdown(self, cancel: bool = False) -> None:
        """Wait for the items, or kill their workers; then leave the cluster, and end it if it was started here."""
        running = dict(self._running)
        if cancel:
            for task in running.values():
                self._ray.cancel(task, force=True)
        wait(running, timeout=CANCEL_SECONDS if cancel else None)
        if self._started:
            self._ray.shutdown()
        for future in running:
            if self._running.pop(future, None) is not None:
                future.set_exception(CancelledError())

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _room(self, node: dict[str, float]) -> int:
        room = node.get("CPU", 0.0) / self._cpus
        return int(min(room, node.get("GPU", 0.0) / self._gpus) if self._gpus else room)

    def _settle(self, future: Future[T], answer: Future[T]) -> None:
        if self._running.pop(future, None) is None:
            return
        if (error := answer.exception()) is None:
            future.set_result(answer.result())
        else:
            future.set_exception(self._own_error(error))

    def _own_error(self, error: BaseException) -> BaseException:
        errors = self._ray.exceptions
        if isinstance(error, errors.RayTaskError):
            cause: BaseException = error.cause
            cause.__cause__ = error  # with the traceback from the worker
            return cause
        if isinstance(error, errors.TaskCancelledError):
            return CancelledError()
        lost = (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.LocalRayletDiedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
        )
        if isinstance(error, lost):
            what = WorkerLostError(
                f"the worker died {self._retries + 1} times, at last with ray's {type(error).__name__}; "
                "if memory ran out, try fewer workers or smaller images"
            )
            what.__cause__ = error
            return what
        return error


def _import_ray(retries: int) -> Any:
    # read while ray is imported or started; out of memory is a loss like others, which ray would retry for ever
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(retries))
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ray_missing() from error
    return ray


def ray_missing() -> UsageError:
    """Say how to install ray."""
    return UsageError('`executor` ray needs ray: pip install "nns[ray]"')


def _connect(ray: Any, address: str | None, threads: int, workers: int | None) -> None:
    # without this, ray prints lost workers on stdout, which is for the result
    ray._private.worker._worker_logs_enabled = False
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        cpus = workers * threads if workers else None
        ray.init("local", num_cpus=cpus, include_dashboard=False, **quiet)
        return
    no_cluster = f"no ray cluster at {address!r}, give HOST:PORT of one, or auto"
    where = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    try:
        if where not in ("", "auto"):  # ray itself tries for minutes
            host, _, port = where.rpartition("://")[2].rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise UsageError(f"{no_cluster}: {error}") from error
    try:
        ray.init(address, **quiet)
    except ray.exceptions.AuthenticationError as error:
        raise UsageError(f"the ray cluster at {address!r} wants a token: {error.message}; {TOKEN_HINT}") from error
    except (OSError, ValueError, RuntimeError) as error:
        if "Version mismatch: " in str(error):
            what = " ".join(str(error).split())
            raise UsageError(f"{no_cluster}: {what}; all machines need the same ray and the same Python") from error
        raise UsageError(f"{no_cluster}: {error}; {TOKEN_HINT}") from error


_prepared: object = None


def _prepare(initializer: Callable[[int], None], threads: int) -> None:
    """Call the initializer, once a process."""
    global _prepared
    if _prepared != (initializer, threads):
        initializer(threads)
        _prepared = (initializer, threads)


def _call(function: Callable[..., T], args: tuple[Any, ...]) -> T:
    return function(*args)


def _run(prepare: Callable[[], None], function: Callable[..., T], args: tuple[Any, ...]) -> T:
    prepare()
    return function(*args)
