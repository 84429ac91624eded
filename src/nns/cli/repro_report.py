"""What ``nns repro`` shows, and writes for the pages of CI."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nns.repro import CheckReport, RecordReport, StageResult


def show_check(lock: Path, report: CheckReport) -> None:
    """Print a check as a table, and what moved."""
    from nns.cli.output import print_table

    _show_environment(report.environment)
    compared = "everything must be equal" if report.exact else f"accuracies may be {report.tolerance:g} off"
    rows = [_row(stage) for stage in report.stages] + [[name, "not run", "", ""] for name in report.not_run]
    print_table(f"{lock}: {compared}", _COLUMNS, rows, caption=_caption(report.stages, report.seconds))


def show_update(report: RecordReport) -> None:
    """Print what an updated lock says otherwise."""
    from nns.cli.output import note, print_lines, print_table

    _show_environment(report.environment or {})
    print_table(
        f"{report.path}: what was, and what is now", _COLUMNS, [_row(stage) for stage in report.stages],
        caption=_caption(report.stages, report.seconds),
    )  # fmt: skip
    for stage in (each for each in report.stages if each.differences):
        print_lines("\n".join(f"{stage.stage}: {each}" for each in stage.differences[:_LISTED]))
        if len(stage.differences) > _LISTED:
            print_lines(f"{stage.stage}: and {len(stage.differences) - _LISTED} more: --json has all")
    note(f"wrote {report.path}; commit it if that is meant")


def tell_github(lock: Path, report: CheckReport) -> None:
    """Write annotations to stderr, which a runner reads too, and a summary to where it wants that."""
    from nns.cli.output import note
    from nns.repro.reports import github_lines, summary

    for line in github_lines(str(lock), report):
        print(line, file=sys.stderr)
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if not place:
        note("no summary is written: GITHUB_STEP_SUMMARY is not set, as it is on a runner of GitHub")
        return
    with open(place, "a", encoding="utf-8") as file:  # steps share it
        file.write(summary(str(lock), report))


_COLUMNS = [("stage", "left"), ("result", "left"), ("differences", "right"), ("first difference", "left")]
_LISTED = 20


def _row(stage: StageResult) -> list[str]:
    if stage.error is not None:
        return [stage.stage, "failed", "", str(stage.error)]
    first = stage.differences[0] if stage.differences else ""
    return [stage.stage, "same" if stage.ok else "differs", str(len(stage.differences)), first]


def _caption(stages: Sequence[StageResult], seconds: float) -> str:
    return "\n".join([*(each for stage in stages for each in stage.moved), f"{seconds:.0f} s"])


def _show_environment(environment: Mapping[str, tuple[str, str]]) -> None:
    from nns.cli.output import note

    for key, (was, here) in environment.items():
        note(f"the environment differs: {key} {was or '-'} → {here or '-'}")
