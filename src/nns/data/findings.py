"""Turns what the doctor counted into sentences with a severity and a next step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nns.data.checks import check_trainable, training_counts
from nns.data.dataset import Dataset
from nns.data.items import Skipped
from nns.data.left_out import EXPECTED, NOT_AN_IMAGE, is_not_read
from nns.data.rendering import Rendering
from nns.data.report import DoctorReport, DuplicateGroup, Finding, Severity, first_few
from nns.data.seen import oddities
from nns.errors import DatasetError
from nns.quantities import counted

TINY_CLASS = 10
"""Fewer training images in a class than this are worth a warning."""

IMBALANCED = 10.0
"""A largest class this many times the smallest is worth a warning."""

SMALL_SIDE = 32
"""Images with a shorter side than this, in pixels, are worth a note."""

_WARNINGS = 5  # of decoders, that are told one by one
_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


def from_error(error: DatasetError) -> Finding:
    """Make a finding of an error; its message ends in the next step."""
    what, _, step = str(error).rpartition("; ")
    return Finding("error", what or step, step)


def judge(dataset: Dataset, report: DoctorReport, readable: Sequence[int]) -> tuple[Finding, ...]:
    """List what a person should know, errors first.

    Args:
        dataset: The dataset.
        report: What was counted.
        readable: Indices of the images that can be read.
    """
    findings = [
        *_usable(dataset, report, readable),
        *oddities(dataset),
        *_files(report),
        *_copies(report),
        *_balance(dataset, report, readable),
        *_pixels(report, len(readable)),
    ]
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity]))


def _usable(dataset: Dataset, report: DoctorReport, readable: Sequence[int]) -> Iterator[Finding]:
    if not readable:
        first = report.unreadable[0]
        what = f"none of the {report.images} images can be read (first: {first.path}: {first.reason})"
        yield Finding("error", what, "replace the files, or check that they are images at all")
    elif not dataset.labelled:
        what = "the images have no labels: the dataset can be searched with, not fine-tuned on"
        yield Finding("warning", what, "put the images into one folder a class to fine-tune on them")
    else:
        try:
            check_trainable(dataset, readable, report.unreadable)
        except DatasetError as error:
            yield from_error(error)


def _files(report: DoctorReport) -> Iterator[Finding]:
    if report.unreadable:
        shown = first_few([f"{skipped.path}: {skipped.reason}" for skipped in report.unreadable])
        what = f"{counted(len(report.unreadable), 'image')} cannot be read and will be skipped ({shown})"
        yield Finding("warning", what, "repair or remove them")
    for test, what, step in (
        (is_not_read, "left out, of a format that is not read", "convert them to PNG or JPEG"),
        (_is_misplaced, "left out", "move them to where they belong, or away"),
    ):
        if found := [skipped for skipped in report.ignored if test(skipped)]:
            shown = first_few([f"{skipped.path}: {skipped.reason}" for skipped in found])
            if len(found) > 1 and len({skipped.reason for skipped in found}) == 1:
                shown = f"each {found[0].reason}: {first_few([skipped.path for skipped in found])}"
            yield Finding("warning", f"{len(found)} {what} ({shown})", step)
    others = [skipped.path for skipped in report.ignored if skipped.reason == NOT_AN_IMAGE]
    if others:
        what = f"{counted(len(others), 'file')} ignored, not named like an image ({first_few(others)})"
        yield Finding("note", what, "nothing, unless one of them should be an image")
    folders = [skipped for skipped in report.ignored if skipped.reason in EXPECTED - {NOT_AN_IMAGE}]
    if folders:
        shown = first_few([f"{skipped.path}: {skipped.reason}" for skipped in folders])
        yield Finding("note", f"{counted(len(folders), 'folder')} ignored ({shown})", "nothing; they are no classes")


def _is_misplaced(skipped: Skipped) -> bool:
    return skipped.reason not in EXPECTED and not is_not_read(skipped)


def _copies(report: DoctorReport) -> Iterator[Finding]:
    conflicts = [group for group in report.duplicates if len(group.classes) > 1]
    leaks = [group for group in report.duplicates if len(group.splits) > 1]
    plain = [group for group in report.duplicates if len(group.classes) < 2 and len(group.splits) < 2]
    if conflicts:
        what = f"{counted(len(conflicts), 'image')} in more than one class ({_examples(conflicts)})"
        yield Finding("warning", what, "keep each in the class it belongs to")
    if leaks:
        what = (
            f"{counted(len(leaks), 'image')} in more than one split ({_examples(leaks)}): accuracy will look too good"
        )
        yield Finding("warning", what, "keep each in one split")
    if plain:
        spare = sum(len(group.paths) - 1 for group in plain)
        what = f"{spare} spare {'copy' if spare == 1 else 'copies'} of images in their own class ({_examples(plain)})"
        yield Finding("note", what, "remove the copies, unless they are meant to count more")


def _balance(dataset: Dataset, report: DoctorReport, readable: Sequence[int]) -> Iterator[Finding]:
    if report.imbalance is not None and report.imbalance >= IMBALANCED:
        counts = training_counts(dataset, readable)
        (large, most), *_, (small, fewest) = counts.most_common()
        what = f"classes are out of balance: {large!r} has {most} images, {small!r} has {fewest}"
        yield Finding("warning", what, f"add images of {small!r}")
    tiny = {name: n for name, n in training_counts(dataset, readable).items() if n < TINY_CLASS}
    if tiny:
        shown = first_few([f"{name!r}: {count}" for name, count in tiny.items()])
        what = f"{counted(len(tiny), 'class', 'classes')} with fewer than {TINY_CLASS} training images ({shown})"
        yield Finding("warning", what, "add images; accuracy on so few says little")
    for split in dataset.splits:
        without = [name for name, counts in report.counts.items() if not counts[split]]
        if without and split != "train":
            what = f"{split} has no images of {counted(len(without), 'class', 'classes')} ({first_few(without)})"
            yield Finding("warning", what, f"add images of every class to {split}")


def _blank(report: DoctorReport, readable: int) -> Iterator[Finding]:
    for lack, names in report.blank.items():
        many = len(names) > 1
        count = f"all {readable} images" if len(names) == readable and many else counted(len(names), "image")
        what = f"{count} {'are' if many else 'is'} {lack} as decoded ({first_few(names)})"
        yield Finding("warning", what, "look at them: a network sees no more than that; remove or convert them")


def _pixels(report: DoctorReport, readable: int) -> Iterator[Finding]:
    yield from _blank(report, readable)
    said = sorted(report.warnings.items(), key=lambda pair: -len(pair[1]))
    for text, names in said[:_WARNINGS]:
        what = f"{counted(len(names), 'image')} about which the decoder warns: {text} ({first_few(names)})"
        yield Finding("note", what, "nothing, if they look right")
    if others := said[_WARNINGS:]:
        what = f"{counted(len(others), 'other warning')} of decoders, the first about {others[0][1][0]}: {others[0][0]}"
        yield Finding("note", what, "nothing, if they look right; the JSON lists them")
    if report.smallest and min(report.smallest) < SMALL_SIDE:
        width, height = report.smallest
        what = f"the smallest image is {width}x{height} pixels"
        yield Finding("note", what, "nothing; small images are enlarged, a network for small inputs may do as well")
    cmyk = report.modes.get("CMYK", 0)
    for count, kind, treatment in (
        (report.transparent, "with transparency", _background(report.rendering)),
        (report.deep, "of more than 8 bits", f"they are scaled to 8 bits{_ranges(report.rendering)}"),
        (cmyk, "in CMYK", "they are converted to RGB"),
        (report.recoloured, "with a colour profile other than sRGB", "they are converted to sRGB"),
        (report.rotated, "turned by their EXIF orientation", "they are turned upright"),
        (report.animated, "with several frames", "the first frame is used"),
    ):
        if count:
            yield Finding("note", f"{counted(count, 'image')} {kind}", f"nothing; {treatment}")


def _background(rendering: Rendering | None) -> str:
    ground = "" if rendering is None else rendering.ground()
    if not ground:
        return "they are opaque, or transparent everywhere and taken for opaque"
    more = "" if ground == "white" else ", where more of them can be seen than on white"
    return f"they are laid onto {ground}{more}"


def _ranges(rendering: Rendering | None) -> str:
    ranges = "" if rendering is None else rendering.ranges()
    return f", the same for all: {ranges}" if ranges else ""


def _examples(groups: Sequence[DuplicateGroup]) -> str:
    return first_few([" = ".join(group.paths[:3]) for group in groups])
