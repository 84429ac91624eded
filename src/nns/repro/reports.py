"""What a check came to, for programs that show the results of CI: JUnit's XML, annotations and summaries of GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any
from xml.etree import ElementTree

from nns.quantities import counted
from nns.repro.comparing import StageResult
from nns.repro.results import CheckReport
from nns.repro.wording import plain

LISTED = 200
"""Differences of a stage that are listed at most."""

ANNOTATIONS = 10
"""GitHub shows so many annotations of a kind and step."""

SUMMARY_BYTES = 500_000
"""Of a summary at most: GitHub drops one of more than a megabyte."""


def report_json(report: CheckReport) -> dict[str, Any]:
    """Return the document of ``nns repro check --json``."""
    return {
        "ok": report.ok,
        "exact": report.exact,
        "tolerance": report.tolerance,
        "stages": [stage_json(stage) for stage in report.stages],
        "not_run": list(report.not_run),
        "environment": {k: {"recorded": was, "here": here} for k, (was, here) in report.environment.items()},
        "seconds": round(report.seconds, 2),
    }


def stage_json(stage: StageResult) -> dict[str, Any]:
    """Return what JSON says of a stage."""
    return {
        "stage": stage.stage,
        "ok": stage.ok,
        "differences": list(stage.differences),
        "moved": list(stage.moved),
        "error": None if stage.error is None else str(stage.error),
        "seconds": round(stage.seconds, 2),
    }


def junit(lock: str, report: CheckReport) -> bytes:
    """Write a report as JUnit's XML: a case for each stage."""
    failed = sum(not stage.ok and stage.error is None for stage in report.stages)
    errors = sum(stage.error is not None for stage in report.stages)
    suite = ElementTree.Element(
        "testsuite", name="nns repro", tests=str(len(report.stages) + len(report.not_run)), failures=str(failed),
        errors=str(errors), skipped=str(len(report.not_run)), time=f"{report.seconds:.3f}",
    )  # fmt: skip
    if report.environment:
        properties = ElementTree.SubElement(suite, "properties")
        for key, (was, here) in report.environment.items():
            ElementTree.SubElement(
                properties, "property", name=plain(key), value=plain(f"{was or '-'} → {here or '-'}")
            )
    for stage in report.stages:
        case = ElementTree.SubElement(
            suite, "testcase", classname=plain(lock), name=stage.stage, time=f"{stage.seconds:.3f}"
        )
        if not stage.ok:
            lines = list(_lines(stage))
            kind = "failure" if stage.error is None else "error"
            ElementTree.SubElement(case, kind, message=lines[0]).text = "\n".join(lines)
    for name in report.not_run:
        case = ElementTree.SubElement(suite, "testcase", classname=plain(lock), name=name, time="0")
        ElementTree.SubElement(case, "skipped", message="a stage before it differs")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def github_lines(lock: str, report: CheckReport) -> list[str]:
    """Return the lines that a runner of GitHub makes annotations of."""
    where = f"file={_property(lock)}"
    found = []
    for stage in report.stages:
        if stage.ok:
            continue
        title = _property(f"nns repro: stage {stage.stage} " + ("failed" if stage.error else "differs"))
        lines = list(_lines(stage))
        text = "\n".join(lines if len(lines) <= LISTED // 10 else [*lines[: LISTED // 10], "…"])
        found.append(f"::error {where},title={title}::{_message(text)}")
    for key, (was, here) in report.environment.items():
        text = plain(f"{key}: {was or '-'} → {here or '-'}")
        found.append(f"::warning {where},title=nns repro%3A the environment differs::{_message(text)}")
    return found[:ANNOTATIONS]


def summary(lock: str, report: CheckReport) -> str:
    """Write a report in the Markdown that GitHub shows for a step; what is out of the lock is text there, no markup."""
    compared = "everything must be equal" if report.exact else f"accuracies may be {report.tolerance:g} off"
    mark = "✅" if report.ok else "❌"
    lines = [f"### {mark} nns repro check {_code(lock)}", "", f"{report.seconds:.0f} s; {compared}.", ""]
    lines += ["| stage | result | differences | first |", "| --- | --- | ---: | --- |"]
    for stage in report.stages:
        result = "same" if stage.ok else "differs" if stage.error is None else "failed"
        first = "" if stage.ok else _code(next(_lines(stage)))
        lines.append(f"| {stage.stage} | {result} | {len(stage.differences)} | {first} |")
    lines += [f"| {name} | not run | | |" for name in report.not_run]
    lines += ["", *(f"- {_code(each)}" for stage in report.stages for each in stage.moved)]
    lines += [
        f"- {_code(key)}: {_code(was or '-')} → {_code(here or '-')}" for key, (was, here) in report.environment.items()
    ]
    for stage in report.stages:
        if len(stage.differences) > 1:
            lines += [
                "",
                f"<details><summary>stage {stage.stage}: {counted(len(stage.differences), 'difference')}</summary>",
            ]
            lines += ["", *(f"- {_code(each)}" for each in _lines(stage)), "", "</details>"]
    text = ""
    for line in lines:
        if len(text.encode()) + len(line.encode()) > SUMMARY_BYTES:
            break
        text += f"{line}\n"
    return text


def _lines(stage: StageResult) -> Iterator[str]:
    if stage.error is not None:
        yield plain(" ".join(str(stage.error).split()))
    yield from map(plain, stage.differences[:LISTED])
    if len(stage.differences) > LISTED:
        yield f"and {len(stage.differences) - LISTED} more"
    yield from map(plain, stage.moved)


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(plain(text)).replace(":", "%3A").replace(",", "%2C")


def _code(text: str) -> str:
    """Show a text as code in HTML, in which Markdown finds no marks: each of those is written as its number."""
    shown = escape(plain(text))
    return "<code>" + "".join(f"&#{ord(c)};" if c in "|`*_[]()!~@\\\\:#" else c for c in shown) + "</code>"
