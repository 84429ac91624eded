"""Recording a run in a lock file, checking that a run still gives what was recorded, and recording it anew."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from nns.building import default_workers
from nns.errors import NnsError, UnknownNameError, UsageError
from nns.files import real_path
from nns.repro.comparing import StageResult, compare
from nns.repro.describing import StageRecord
from nns.repro.environment import (
    EXPORT_PACKAGES,
    MACHINE,
    environment,
    environment_differences,
    excuses_nothing,
    one_thread,
)
from nns.repro.idle import refuse_idle
from nns.repro.lock import MOST_TOLERANCE, Lock, read_lock, write_lock
from nns.repro.results import ENVIRONMENT, CheckReport, RecordReport
from nns.repro.settings import DEFAULT_TOLERANCE, ReproSettings, check_stages
from nns.repro.stages import Progress, Run

if TYPE_CHECKING:
    from nns.plugins import Registry

SEEDED = ("build", "fit", "search", "finetune")


@dataclass(frozen=True)
class Running:
    """How the stages are run; see :class:`nns.repro.stages.Run`."""

    work: Path | None
    workers: int | None
    progress: Progress | None
    registry: Registry | None
    seeds: Mapping[str, int] | None = None
    inside: tuple[str, ...] | None = None

    @contextmanager
    def run(self, settings: ReproSettings) -> Iterator[Run]:
        """Yield a run in a folder of its own, on one thread."""
        with TemporaryDirectory(prefix="nns-repro-") as folder, one_thread():
            place = Path(folder) if self.work is None else self.work
            workers = min(2, default_workers()) if self.workers is None else self.workers
            with Run(
                settings, place,
                seeds=self.seeds, workers=workers, progress=self.progress, registry=self.registry, inside=self.inside,
            ) as run:  # fmt: skip
                yield run


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
    """Run the stages and write what came out, in place of a lock that is there.

    Args:
        lock_path: The file to write.
        settings: What to run; relative paths are relative to the current folder.
        tolerance: How far a mean or predicted accuracy may be off in another environment.
        work: Empty folder in which the zoo and fine-tuned networks are kept; None: a temporary one.
        workers: Processes that train, 0: this one alone; None: one a core, two at most. Their number changes no result.
        progress: ``progress(stage, done, total)``.
        registry: Plugins in place of the installed ones.

    Raises:
        UsageError: If the tolerance is not positive, ``work`` holds a zoo already, or the lock would check nothing:
            all predictions are equal, or a backend has no network.
        DatasetError: If a dataset cannot be used.
    """
    _check_tolerance(tolerance)
    return _record(lock_path, settings, tolerance, Running(work, workers, progress, registry))


def _record(lock_path: Path, settings: ReproSettings, tolerance: float, how: Running) -> RecordReport:
    started = time.perf_counter()
    check_writable(lock_path, "lock")  # before what may take hours
    with how.run(settings) as run:
        stages = tuple(run.stage(name) for name in settings.covered)
        refuse_idle(stages, run.build)
        around = environment(run.plugins(), _packages(settings))
    lock = Lock(settings.relative_to(real_path(lock_path).parent), tolerance, stages, around)
    write_lock(lock_path, lock)
    return RecordReport(lock_path, lock, time.perf_counter() - started)


def update(
    lock_path: Path,
    *,
    outside: bool = False,
    work: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    registry: Registry | None = None,
) -> RecordReport:
    """Run what a lock describes, write it anew, and say what differs from what it said before.

    Args:
        lock_path: The lock file.
        outside: As for :func:`check`.
        work: As for :func:`record`.
        workers: As for :func:`record`.
        progress: As for :func:`record`.
        registry: As for :func:`record`.

    Raises:
        UsageError: If the lock cannot be read, or would check nothing.
    """
    old = read_lock(lock_path)
    settings = old.settings.resolved(real_path(lock_path).parent)
    inside = _inside(lock_path, outside)
    new = _record(lock_path, settings, old.tolerance, Running(work, workers, progress, registry, inside=inside))
    results = tuple(compare(was, here, tolerance=None) for was, here in zip(old.stages, new.lock.stages, strict=True))
    return replace(new, stages=results, environment=environment_differences(old.environment, new.lock.environment))


def check(
    lock_path: Path,
    seed: int | None = None,
    *,
    stage: str | None = None,
    stages: Sequence[str] | None = None,
    keep_going: bool = False,
    strict: bool = False,
    exact: bool | None = None,
    tolerance: float | None = None,
    outside: bool = False,
    work: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    registry: Registry | None = None,
) -> CheckReport:
    """Run the stages again with the settings of a lock, cheap ones first, and compare, up to the first that differs.

    In the environment in which the lock was recorded everything must be equal, bit for bit. In another one
    (:func:`nns.repro.environment.environment`), what is no floating-point result must be equal, and
    numbers must lie within the tolerance.

    Args:
        lock_path: The lock file.
        seed: Another seed, to see that the check notices; None: the lock's.
        stage: Give ``seed`` to this stage only.
        stages: Run and compare these stages of the lock only.
        keep_going: Go on after a stage that differs.
        strict: Whether another version of a library or a plugin is a difference, too, before anything is run.
        exact: Demand equality in any environment (True) or in none (False); None: where it is the same.
        tolerance: How far a mean or predicted accuracy may be off, in place of the lock's own; implies ``exact=False``.
        outside: Whether the lock may name data that is neither below its own folder nor below the current one: it may
            be a stranger's, and what is in there is in the report.
        work: Empty folder in which the zoo is kept; None: a temporary one.
        workers: Processes that train, 0: this one alone; None: one a core, two at most.
        progress: ``progress(stage, done, total)``.
        registry: Plugins in place of the installed ones.

    Returns:
        The comparison; :meth:`CheckReport.raise_if_differs` turns it into an error. A stage that fails is in it.

    Raises:
        UsageError: If the lock cannot be read or checks nothing, or the arguments contradict each other.
    """
    if exact and tolerance is not None:
        raise UsageError("equality and a tolerance exclude each other: give `exact` or `tolerance`")
    if tolerance is not None:
        _check_tolerance(tolerance)
    if stage is not None and seed is None:
        raise UsageError("a stage is named but no seed for it: give `seed` as well")
    started = time.perf_counter()
    lock = read_lock(lock_path)
    seeded = [name for name in SEEDED if name in lock.settings.covered]
    if stage is not None and stage not in seeded:
        raise UnknownNameError.among("stage with a seed", stage, seeded)
    refuse_idle(lock.stages, lock.settings.build)
    settings = lock.settings.resolved(real_path(lock_path).parent)
    covered = settings.covered if stages is None else settings.in_order(stages)
    check_stages(covered, settings)
    if missing := set(covered) - set(settings.covered):
        raise UsageError(f"the lock has no stage {min(missing)}; it has {', '.join(settings.covered)}")
    seeds = {} if seed is None else dict.fromkeys([stage] if stage else SEEDED, seed)
    # a key with a space is of a plugin: kind and name
    used = [(kind, name) for kind, _, name in (key.partition(" ") for key in lock.environment) if name]
    here = environment([*settings.plugins(), *used], _packages(settings))
    differing = environment_differences(lock.environment, here)
    if exact is None:
        exact = tolerance is None and all(map(excuses_nothing, differing))
    allowed = None if exact else tolerance or lock.tolerance
    results = [_installed(differing)] if strict else []
    recorded = {each.stage: each for each in lock.stages}
    how = Running(work, workers, progress, registry, seeds, _inside(lock_path, outside))
    with how.run(settings) as run:
        for name in covered:
            if results and not results[-1].ok and (results[-1].error or not keep_going):
                break
            results.append(_stage(run, recorded[name], allowed, steady=settings.zoo is not None))
    return CheckReport(
        ok=all(result.ok for result in results),
        exact=exact,
        tolerance=allowed or 0.0,
        stages=tuple(results),
        environment=differing,
        seconds=time.perf_counter() - started,
        not_run=tuple(name for name in covered if name not in {result.stage for result in results}),
    )


def _stage(run: Run, recorded: StageRecord, tolerance: float | None, steady: bool) -> StageResult:
    began = time.perf_counter()
    try:
        result = compare(recorded, run.stage(recorded.stage), tolerance=tolerance, steady=steady)
    except NnsError as error:  # told in every form of the report, then raised
        result = StageResult(recorded.stage, False, (), error=error)
    return replace(result, seconds=time.perf_counter() - began)


def _installed(differing: Mapping[str, tuple[str, str]]) -> StageResult:
    found = [
        f"{key}: {was or '-'} is now {here or '-'}" for key, (was, here) in differing.items() if key not in MACHINE
    ]
    return StageResult(ENVIRONMENT, not found, tuple(found))


def _inside(lock_path: Path, outside: bool) -> tuple[str, ...] | None:
    return None if outside else (str(real_path(lock_path).parent), os.getcwd())


def check_writable(path: Path, what: str) -> None:
    """See that a file can be written.

    Raises:
        UsageError: If not.
    """
    place = real_path(path)
    above = next((folder for folder in place.parents if folder.exists()), place.parent)
    if place.is_dir() or not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise UsageError(f"{what} {str(path)!r} cannot be written; name another place")


def _packages(settings: ReproSettings) -> tuple[str, ...]:
    return EXPORT_PACKAGES if "export" in settings.covered else ()


def _check_tolerance(tolerance: float) -> None:
    if not 0 < tolerance <= MOST_TOLERANCE:
        raise UsageError(f"`tolerance` must be above 0 and at most {MOST_TOLERANCE:g}, not {tolerance}")
