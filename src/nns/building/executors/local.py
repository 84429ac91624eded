"""Items in processes of this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from copy import copy
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait as wait_for
from threading import Lock, Thread
from typing import Any

from nns.building.executors._base import RETRIES, Executor, T, WorkerLostError
from nns.building.worker import start_worker
from nns.errors import NnsError


class LocalExecutor(Executor):
    """Runs each item in one of some worker processes, which are started as they are needed.

    A ``ProcessPoolExecutor`` fails everything that it holds when one of its processes dies, and does not tell which
    item did it. So every worker is a pool of one process, which is handed one item at a time: when the pool breaks,
    it is known which item was lost, and no other is touched. The queue, and the waiting for a worker, is that of a
    ``ThreadPoolExecutor`` with a thread for each worker. A worker that died while it had nothing to do is replaced
    before it is handed an item.

    Processes are spawned, not forked: a fork of a process in which torch has started its threads can hang. They
    ignore Ctrl-C, which is for this process to act on, and end when this process does, however that ends.

    Args:
        workers: Items at the same time, each in a process.
        threads: Threads of each.
        initializer: Called with ``threads`` in each worker process when it has started.
        retries: How often an item is run again whose worker died.
    """

    name = "local"

    def __init__(
        self, workers: int, threads: int = 1, initializer: Callable[[int], None] = start_worker, retries: int = RETRIES
    ) -> None:
        self._slots, self._threads, self._initializer, self._retries = workers, threads, initializer, retries
        self._supervisors = ThreadPoolExecutor(workers, thread_name_prefix="nns-worker")
        self._lock = Lock()
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._cancelled = False

    @property
    def slots(self) -> int:
        """The number of worker processes."""
        return self._slots

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Run ``function(*args)`` in the next worker that is free."""
        return self._supervisors.submit(self._run, function, *args)

    def shutdown(self, cancel: bool = False) -> None:
        """End the workers; ``cancel`` kills them."""
        self._supervisors.shutdown(wait=not cancel, cancel_futures=cancel)
        with self._lock:
            self._cancelled |= cancel
            workers = list(self._workers)
        if cancel:
            for worker in workers:
                worker.kill()
            self._supervisors.shutdown()
        for worker in workers:
            worker.close()

    def _run(self, function: Callable[..., T], *args: Any) -> T:
        exit_code = None
        for _ in range(self._retries + 1):
            worker = self._take()
            try:
                result = worker.run(function, *args)
            except BrokenProcessPool:
                exit_code = self._drop(worker)
                if self._cancelled:
                    raise CancelledError from None
            except BaseException:
                self._idle.append(worker)
                raise
            else:
                self._idle.append(worker)
                return result
        raise WorkerLostError(
            f"the worker process died {self._retries + 1} times, at last {_how(exit_code)}; "
            "if memory ran out, try fewer workers or smaller images"
        )

    def _take(self) -> _Worker:
        with self._lock:
            if self._cancelled:
                raise CancelledError
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive():
                    return worker
                self._workers.discard(worker)
            worker = _Worker(self._initializer, self._threads)
            self._workers.add(worker)
            return worker

    def _drop(self, worker: _Worker) -> int | None:
        with self._lock:
            self._workers.discard(worker)
        return worker.close()


def default_workers(threads: int = 1) -> int:
    """Choose the number of worker processes: the cores this process may use, shared out by ``threads``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // threads)


class _Worker:
    """One process, in a pool of its own."""

    def __init__(self, initializer: Callable[[int], None], threads: int) -> None:
        # first, as it is inherited: by the process, so that neither Ctrl-C nor the end of the terminal ends it before
        # it can ignore them, and by that of multiprocessing's own, which prints tracebacks once it was replaced
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._ready = self._pool.submit(_prepare, initializer, threads)
        (self._process,) = self._pool._processes.values()

    def run(self, function: Callable[..., T], *args: Any) -> T:
        self._ready.result()
        return self._pool.submit(_call, function, *args).result()

    def is_alive(self) -> bool:
        # not the process's own is_alive(), which can be wrong while another thread waits for the process
        return not wait_for([self._process.sentinel], timeout=0)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> int | None:
        """Wait for the end of the process; give its exit code."""
        self._pool.shutdown()
        return self._process.exitcode


def _prepare(initializer: Callable[[int], None], threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_follow_parent, daemon=True).start()
    initializer(threads)


def _follow_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(function: Callable[..., T], *args: Any) -> T:
    try:
        return function(*args)
    except Exception as error:
        try:
            copy(error)  # by the same means as unpickling, which would break the pool if it failed
        except Exception:  # noqa: BLE001 - whatever the class of the error does when it is made again
            raise NnsError(f"{type(error).__name__}: {error}") from error
        raise


def _how(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"with exit code {exit_code}"
    return f"by {signal.Signals(-exit_code).name}"
