"""Recording a run in a lock file, and checking that a run still gives what was recorded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from nns.building import default_workers
from nns.errors import ReproError, UnknownNameError, UsageError
from nns.files import real_path
from nns.repro.comparing import StageResult, compare
from nns.repro.environment import environment, environment_differences, excuses_nothing, one_thread
from nns.repro.lock import Lock, read_lock, write_lock
from nns.repro.settings import DEFAULT_TOLERANCE, STAGES, ReproSettings
from nns.repro.stages import Progress, run_stages

if TYPE_CHECKING:
    from nns.plugins import Registry


@dataclass(frozen=True)
class RecordReport:
    """What was recorded.

    Attributes:
        path: The lock file.
        lock: Its content.
        seconds: Wall-clock time.
    """

    path: Path
    lock: Lock
    seconds: float


@dataclass(frozen=True)
class CheckReport:
    """What a check came to.

    Attributes:
        ok: Whether every stage gave what was recorded.
        exact: Whether equality was demanded; else numbers were compared within ``tolerance``.
        tolerance: How far a mean or predicted accuracy was allowed to be off; 0 where equality was demanded.
        stages: The comparison of each stage, in order.
        environment: ``(recorded, here)`` of whatever differs in the environment.
        seconds: Wall-clock time.
    """

    ok: bool
    exact: bool
    tolerance: float
    stages: tuple[StageResult, ...]
    environment: Mapping[str, tuple[str, str]]
    seconds: float

    def raise_if_differs(self) -> None:
        """Raise if a stage differs.

        Raises:
            ReproError: It names the first such stage, its first difference, and what differs around it.
        """
        failed = next((stage for stage in self.stages if not stage.ok), None)
        if failed is None:
            return
        more = f" (and {len(failed.differences) - 1} more)" if len(failed.differences) > 1 else ""
        around = "; ".join(f"{key} {was or '-'} → {here or '-'}" for key, (was, here) in self.environment.items())
        cause = f"; the environment differs: {around}" if around else ""
        raise ReproError(f"stage {failed.stage} differs from the lock: {failed.differences[0]}{more}{cause}")


def record(
    lock_path: Path,
    settings: ReproSettings,
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    work: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    registry: Registry | None = None,
) -> RecordReport:
    """Run all stages and write what came out, in place of a lock that is there.

    Args:
        lock_path: The file to write.
        settings: What to run; relative paths are relative to the current folder.
        tolerance: How far a mean or predicted accuracy may be off in another environment.
        work: Empty folder in which the zoo is kept; None: a temporary one.
        workers: Processes that train, 0: this one alone; None: one a core, two at most. Their number changes no result.
        progress: ``progress(stage, done, total)``.
        registry: Plugins in place of the installed ones.

    Raises:
        UsageError: If the tolerance is not positive, or ``work`` holds a zoo already.
        DatasetError: If a dataset cannot be used.
    """
    if not tolerance > 0:
        raise UsageError(f"`tolerance` must be above 0, not {tolerance}")
    started = time.perf_counter()
    with _folder(work) as folder, one_thread():
        stages = run_stages(settings, Path(folder), workers=_workers(workers), progress=progress, registry=registry)
    kept = settings.relative_to(real_path(lock_path).parent)
    lock = Lock(kept, tolerance, stages, environment(settings.plugins()))
    write_lock(lock_path, lock)
    return RecordReport(lock_path, lock, time.perf_counter() - started)


def check(
    lock_path: Path,
    seed: int | None = None,
    *,
    stage: str | None = None,
    exact: bool | None = None,
    tolerance: float | None = None,
    work: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    registry: Registry | None = None,
) -> CheckReport:
    """Run all stages again with the settings of a lock, and compare.

    In the environment in which the lock was recorded everything must be equal, bit for bit. In another one
    (:func:`nns.repro.environment.environment`), what is no floating-point result must be equal, and
    numbers must lie within the tolerance.

    Args:
        lock_path: The lock file.
        seed: Another seed, to see that the check notices; None: the lock's.
        stage: Give ``seed`` to this stage only.
        exact: Demand equality in any environment (True) or in none (False); None: where it is the same.
        tolerance: How far a mean or predicted accuracy may be off, in place of the lock's own; implies ``exact=False``.
        work: Empty folder in which the zoo is kept; None: a temporary one.
        workers: Processes that train, 0: this one alone; None: one a core, two at most.
        progress: ``progress(stage, done, total)``.
        registry: Plugins in place of the installed ones.

    Returns:
        The comparison; :meth:`CheckReport.raise_if_differs` turns it into an error.

    Raises:
        UsageError: If the lock cannot be read, or the arguments contradict each other.
    """
    if exact and tolerance is not None:
        raise UsageError("equality and a tolerance exclude each other: give `exact` or `tolerance`")
    if tolerance is not None and not tolerance > 0:
        raise UsageError(f"`tolerance` must be above 0, not {tolerance}")
    if stage is not None and seed is None:
        raise UsageError("a stage is named but no seed for it: give `seed` as well")
    if stage is not None and stage not in STAGES[1:]:
        raise UnknownNameError.among("stage with a seed", stage, STAGES[1:])
    started = time.perf_counter()
    lock = read_lock(lock_path)
    settings = lock.settings.resolved(real_path(lock_path).parent)
    seeds = {} if seed is None else dict.fromkeys([stage] if stage else STAGES, seed)
    with _folder(work) as folder, one_thread():
        now = run_stages(
            settings, Path(folder), seeds=seeds, workers=_workers(workers), progress=progress, registry=registry
        )
    differing = environment_differences(lock.environment, environment(settings.plugins()))
    if exact is None:
        exact = tolerance is None and all(map(excuses_nothing, differing))
    allowed = None if exact else tolerance or lock.tolerance
    results = tuple(compare(was, here, tolerance=allowed) for was, here in zip(lock.stages, now, strict=True))
    return CheckReport(
        ok=all(result.ok for result in results),
        exact=exact,
        tolerance=allowed or 0.0,
        stages=results,
        environment=differing,
        seconds=time.perf_counter() - started,
    )


def _workers(wanted: int | None) -> int:
    return min(2, default_workers()) if wanted is None else wanted


def _folder(work: Path | None) -> AbstractContextManager[str | Path]:
    return TemporaryDirectory(prefix="nns-repro-") if work is None else nullcontext(work)
