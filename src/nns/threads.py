"""How many threads a process computes with: what the user says, else what a short measurement says.

Two threads are up to 1.8 times as fast as one on idle cores, and up to five times slower where other work has them
(docs/results.md, "Threads"). Sums depend in their last digits on how they are shared out: what is trained notes its
number, since such differences grow there; of a forward pass they are a millionth, and mostly there are none.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from weakref import WeakKeyDictionary

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""What torch reads its number of threads from as it is loaded."""

SECONDS, SHARE = 3.0, 0.08
"""That a measurement may take, at most, and of the whole work. What two threads gain shows in batches of the real size
only: of EfficientNet-Lite0's training at 96 px they do 0.86 of what one does with 8 images at a time, 1.32 with 32."""
TOO_SHORT = 1.0
"""Seconds of work that is done by one thread, unmeasured."""
CLEAR, TURNS, ENOUGH = 1.3, 3, 0.5
"""Times as quick: after so many turns that decides, and after so many seconds anything does."""
PASSES = 4
"""Over a number's share of the time: the first with it, one turn of both, and one to spare."""
WORTH = 1.05
"""Times as quick as fewer threads that more must be."""
AGAIN = 20.0
"""Seconds after which forward passes are measured anew: other work comes and goes."""

_limits = 0


def threads_given() -> bool:
    """Tell whether the number is no longer open: the user has set it, or :func:`limited_threads` has."""
    return bool(_limits) or any(os.environ.get(name, "").strip() for name in VARIABLES)


def threads_wanted() -> int:
    """Return the number for operations so small that one thread does them best: one, unless the user has set it."""
    import torch

    return torch.get_num_threads() if threads_given() else 1


def prepare_process() -> None:
    """Choose how threads wait, and how many numpy has, before torch and numpy are loaded and read it.

    OpenMP's threads spin at barriers, and where other work has the cores that made two threads twice as slow as one.
    numpy's matrices are small here.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if not threads_given():
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def set_threads(count: int) -> None:
    """Use ``count`` threads in this process from now on, of torch and of the libraries of numpy."""
    global _limits
    import torch
    from threadpoolctl import threadpool_limits

    _limits += 1
    torch.set_num_threads(count)
    threadpool_limits(count)


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Use ``count`` threads within the context, in which nothing else is chosen."""
    global _limits
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    _limits += 1
    try:
        with threadpool_limits(count):
            yield
    finally:
        _limits -= 1
        torch.set_num_threads(before)


def measured_threads(
    work: Callable[[int], object], most_units: int = 1, whole_seconds: Callable[[float], float] | None = None
) -> int:
    """Choose the number of threads that does some work the quickest; torch's own number is the most.

    Numbers are doubled as long as that pays. Two numbers take turns, so that what else the machine does meets both.

    Args:
        work: ``work(units)`` does a little of it; called some ten times.
        most_units: Units at a time; as many are taken as have room in the time for measuring.
        whole_seconds: ``whole_seconds(seconds_of_a_unit)``: what all of the work will take; of that :data:`SHARE` is
            for measuring. None: so much that this does not matter. Two numbers are compared once in any case.
    """
    import torch

    most = torch.get_num_threads()
    if threads_given() or most == 1:
        return most
    chosen, steps = 1, _doubled(most)
    try:
        _timed(work, 1, 1)  # the first time pays for memory and for the choice of kernels
        unit = max(_timed(work, 1, 1), 1e-9)
        whole = math.inf if whole_seconds is None else whole_seconds(unit)
        if whole < TOO_SHORT:
            return 1
        seconds = min(SECONDS, SHARE * whole) / len(steps)
        units = int(max(1, min(most_units, seconds / PASSES / unit)))
        for count in steps:
            _timed(work, units, count)  # it is the first time for each number
            if not _is_quicker(work, units, count, chosen, seconds):
                break
            chosen = count
    finally:
        torch.set_num_threads(most)
    return chosen


def _doubled(most: int) -> list[int]:
    """List 2, 4, 8, … and the most."""
    return [*(2**power for power in range(1, most.bit_length()) if 2**power < most), most]


def _timed(work: Callable[[int], object], units: int, count: int) -> float:
    import torch

    torch.set_num_threads(count)
    began = time.perf_counter()
    work(units)
    return time.perf_counter() - began


def _is_quicker(work: Callable[[int], object], units: int, more: int, fewer: int, seconds: float) -> bool:
    began, order, ratios = time.perf_counter(), [fewer, more], list[float]()
    while True:
        spent = {count: _timed(work, units, count) for count in order}
        order.reverse()
        ratios.append(spent[fewer] / max(spent[more], 1e-9))
        ratio = median(ratios)  # so that what happens once on the machine decides nothing
        spent_on_it = time.perf_counter() - began
        clear = len(ratios) >= TURNS and (spent_on_it >= ENOUGH or not 1 / CLEAR < ratio < CLEAR)
        if clear or spent_on_it >= seconds:
            return ratio >= WORTH


@contextmanager
def quickest_threads(network: object, images: int) -> Iterator[None]:
    """Within the context, compute a forward pass with the number of threads that does most images a second.

    Nothing is computed twice: the first batches of a network are done with one thread and with all in turns, and every
    :data:`AGAIN` seconds some more.

    Args:
        network: What batches have in common.
        images: Of this batch.
    """
    import torch

    most = torch.get_num_threads()
    if threads_given() or most == 1:
        yield
        return
    trial = _trials.setdefault(network, _Trial(most))
    torch.set_num_threads(trial.count)
    began = time.perf_counter()
    try:
        yield
        trial.note(images, time.perf_counter() - began)
    finally:
        torch.set_num_threads(most)


class _Trial:
    """One thread against all: which is next, and which is better."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 1
        self._begin()

    def _begin(self) -> None:
        self._done = {1: 0, self.most: 0}
        self._spent = {1: 0.0, self.most: 0.0}
        self._turns = 0
        self._until: float | None = None

    def note(self, images: int, seconds: float) -> None:
        """Note how long a batch took, and choose the number for the next."""
        if self._until is not None:
            if time.perf_counter() >= self._until:
                self._begin()
            return
        self._done[self.count] += images
        self._spent[self.count] += seconds
        self._turns += 1
        if self._turns % 2:
            self.count = self.most if self.count == 1 else 1
            return
        rate = {count: self._done[count] / max(self._spent[count], 1e-9) for count in self._done}
        ratio = rate[self.most] / max(rate[1], 1e-9)
        # the very first batch is slow with any number, and that was one thread's
        clear = ratio < 1 / CLEAR or (ratio > CLEAR and self._turns > 2)
        if clear or self._turns >= 6 or sum(self._spent.values()) >= ENOUGH:
            self.count = self.most if ratio >= WORTH else 1
            self._until = time.perf_counter() + AGAIN


_trials: WeakKeyDictionary[object, _Trial] = WeakKeyDictionary()


def reading_threads() -> int:
    """Return the number for passes over memory: what the user has set, else the cores that this process may use.

    They share no barrier and hand out small parts, so a core that other work has slows down its own parts alone.
    """
    if _limits:
        return 1
    given = next((value for name in VARIABLES if (value := os.environ.get(name, "").strip()).isdigit()), "")
    return max(1, int(given)) if given else len(os.sched_getaffinity(0))
