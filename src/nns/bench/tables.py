"""Tables of a finished run, as plain cells: what a document of :func:`nns.bench.running.run_bench` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nns.tables import Table
from nns.types import Json

TRUTHS = {"full": "full fine-tuning", "head_only": "a new head on frozen features"}


@dataclass(frozen=True)
class _Column:
    heading: str
    name: str
    form: str = "{:.2f}"
    scale: float = 1.0
    align: str = field(default="right")

    def cell(self, numbers: Mapping[str, Any]) -> str:
        return number(numbers.get(self.name), self.form, self.scale)


HEADLINE = (
    _Column("regret", "regret"),
    _Column("±", "regret_spread"),
    _Column("top 3", "regret_top3"),
    _Column("Rel@1", "rel1", "{:.1f}", 100),
    _Column("Rel@3", "rel3", "{:.1f}", 100),
    _Column("Rel@5", "rel5", "{:.1f}", 100),
    _Column("tau", "tau"),
    _Column("error", "mae", "{:.1f}"),
    _Column("covered", "coverage", "{:.0f} %", 100),
    _Column("fidelity", "fidelity"),
    _Column("s cold", "cold", "{:.1f}"),
    _Column("warm", "warm", "{:.1f}"),
)
LEAST = ("fidelity", "warm", "s cold", "covered", "error", "Rel@5", "Rel@3", "tau", "±", "Rel@1", "top 3")
"""Headings of the headline by how soon a narrow terminal goes without them."""

COST = (
    _Column("search", "cold", "{:.1f} s"),
    _Column("+ 1 tuned", "total1", "{:.0f} s"),
    _Column("accuracy", "accuracy", "{:.2f}", 100),
    _Column("+ 3 tuned", "total3", "{:.0f} s"),
    _Column("accuracy", "accuracy_top3", "{:.2f}", 100),
)


def bench_tables(document: Json) -> list[Table]:
    """Return all tables of a run, those of separability first.

    Args:
        document: What ``run_bench`` gave.
    """
    truths = [name for name in TRUTHS if name in document]
    tables = [_separability(document, truths)]
    for name in truths:
        found, what = document[name], TRUTHS[name]
        choosers = sorted(found["choosers"], key=lambda chooser: _key(chooser["headline"]["regret"]))
        tables += [_headline(document, choosers, what), _limits(document, choosers, what)]
        tables += _distance(document, choosers, what)
        tables += [_bootstrap(choosers, bar, what) for bar in choosers[0]["bootstrap"]]
        if name == "full":
            tables.append(_cost(document, choosers))
    return tables


def number(value: Any, form: str = "{:.2f}", scale: float = 1.0) -> str:
    """Write a number; a dash where there is none."""
    return form.format(value * scale) if isinstance(value, int | float) else "-"


def _key(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("inf")


def _about(document: Json) -> str:
    about, settings = document["about"], document["settings"]
    datasets = about["datasets"]
    families = len({dataset["family"] for dataset in datasets})
    recipe = about.get("recipe", {})
    lines = [
        f"{len(datasets)} datasets of {families} families, {about['candidates']} candidates, {about['cells']} "
        f"fine-tunings ({about['repetitions']} repetitions); zoo {str(about.get('zoo', ''))[:12]}",
        "recipe: " + ", ".join(f"{name} {value}" for name, value in recipe.items()),
        f"made with {_where(about)}",
        f"run with {_where(about['run'])}; method {settings['method']}, {settings['seeds']} seeds",
    ]
    return "\n".join(lines)


def _where(about: Json) -> str:
    """Name versions and machine."""
    versions = ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items())
    machine = about.get("machine", {})
    return f"{versions}; {machine.get('processor', '')}, {machine.get('cores', '')} cores"


def _separability(document: Json, truths: Sequence[str]) -> Table:
    columns = [("ground truth", "left"), ("limit", "right"), ("datasets", "right"), ("skipped", "right")]
    columns += [("winners", "right"), ("most wins", "right"), ("of", "left"), ("regret at random", "right")]
    least = ("skipped", "of", "most wins", "datasets", "winners")
    rows, sentences = [], []
    for name in truths:
        found = document[name]["separability"]
        for limit, of in found["limits"].items():
            row = [TRUTHS[name], limit, str(of["datasets"]), str(of["skipped"]), str(of["winners"])]
            rows.append([*row, str(of["wins"]), of["most"], number(of["random_regret"])])
        share = {
            key: number(found[key], "{:.0f} %", 100) for key in ("task", "network", "network_adjusted", "residual")
        }
        noise = number(found["noise"], "{:.0f} %", 100)
        sentences.append(
            f"{TRUTHS[name]}: {share['task']} of the variance lies between datasets; within them {share['network']} "
            f"is due to the network alone ({share['network_adjusted']} adjusted), {share['residual']} is not"
            + (f" (noise of training: {noise})" if noise != "-" else "")
            + f". {found['sentence']}"
        )
    return Table("How separable the benchmark is", columns, rows, "\n".join([*sentences, _about(document)]), least)


def _headline(document: Json, choosers: Sequence[Json], what: str) -> Table:
    limits = ", ".join(document["settings"]["headline"])
    columns = [("chooser", "left"), *((column.heading, column.align) for column in HEADLINE)]
    rows = [[_name(each), *(column.cell(each["headline"]) for column in HEADLINE)] for each in choosers]
    datasets = max((each["headline"]["datasets"] for each in choosers), default=0)
    skipped = max((each["headline"]["skipped"] for each in choosers), default=0)
    caption = [
        f"Mean of {datasets} datasets within {limits} parameters"
        + (f" ({skipped} have too few candidates there)" if skipped else "")
        + "; regret and error in points, Rel in %.",
        "±: spread over seeds, repetitions or shuffles. error, covered: of predicted accuracy and its 80 % interval.",
        "fidelity: how much accuracy differs where predictions differ by 1.",
        _within(choosers),
        "top 3: regret of the best on validation among the first three. Equal scores: mean over their orders.",
        *_notes(choosers),
    ]
    return Table(f"Choosing for {what}", columns, rows, "\n".join(caption), LEAST)


def _within(choosers: Sequence[Json]) -> str:
    outside = [each for each in choosers if (each["headline"]["feasible"] or 0) < 1]
    shares = [f"{each['name']} {number(each['headline']['feasible'], '{:.0f} %', 100)}" for each in outside]
    return f"Answers within the limits: {', '.join(shares) if outside else 'all'}."


def _notes(choosers: Sequence[Json]) -> list[str]:
    return [
        f"{chooser['name']}: {note}, {count} of {len(chooser['rows']['task'])} times"
        for chooser in choosers
        for note, count in chooser["notes"].items()
    ]


def _limits(document: Json, choosers: Sequence[Json], what: str) -> Table:
    limits = document["settings"]["limits"]
    columns = [("chooser", "left"), *((limit, "right") for limit in limits)]
    rows = [[_name(each), *(number(each["limits"][limit]["regret"]) for limit in limits)] for each in choosers]
    return Table(f"Regret in points by limit of parameters, {what}", columns, rows)


def _distance(document: Json, choosers: Sequence[Json], what: str) -> list[Table]:
    """Return the table of regret by distance from ImageNet, none where that is not known."""
    thirds = list(choosers[0].get("distance", ())) if choosers else []
    if not thirds:
        return []
    known = sorted(each["distance"] for each in document["about"]["datasets"] if each["distance"] is not None)
    rows = [
        [_name(each), *(number(each["distance"].get(third, {}).get("regret")) for third in thirds)] for each in choosers
    ]
    caption = (
        f"1 - cosine of mean features and ImageNet's, {known[0]:.2f} to {known[-1]:.2f}; "
        f"{', '.join(document['settings']['headline'])} parameters."
    )
    columns = [("chooser", "left"), *((third, "right") for third in thirds)]
    return [Table(f"Regret in points by distance from ImageNet, {what}", columns, rows, caption)]


def _bootstrap(choosers: Sequence[Json], bar: str, what: str) -> Table:
    columns = [("chooser", "left"), ("difference", "right"), ("95 % interval", "right"), ("wins", "right")]
    columns += [("ties", "right"), ("losses", "right"), ("", "left")]
    rows = []
    for each in choosers:
        found = each["bootstrap"][bar]
        interval = f"{number(found['low'], '{:+.2f}')} to {number(found['high'], '{:+.2f}')}"
        counts = [str(found[key]) for key in ("wins", "ties", "losses")]
        rows.append([_name(each), number(found["mean"], "{:+.2f}"), interval, *counts, found["verdict"]])
    caption = "Regret less that of this chooser, paired bootstrap over datasets; fewer than 8 decide nothing."
    return Table(f"Beside {bar}, {what}", columns, rows, caption, ("ties", "losses", "wins", "95 % interval"))


def _cost(document: Json, choosers: Sequence[Json]) -> Table:
    columns = [("chooser", "left"), *((column.heading, column.align) for column in COST)]
    rows = []
    for each in choosers:
        headline = dict(each["headline"])
        for k in ("1", "3"):
            parts = headline["cold"], headline[f"tuning{k}"]
            headline[f"total{k}"] = sum(parts) if None not in parts else None
        rows.append([_name(each), *(column.cell(headline) for column in COST)])
    about = document["about"]
    there, here = (each.get("machine", {}).get("processor", "") for each in (about, about["run"]))
    caption = (
        f"Searches were timed on {here}, features of candidates and fine-tunings on {there}: do not divide the two."
        if there != here
        else ""
    )
    return Table("Accuracy in % against processor seconds of search and fine-tuning", columns, rows, caption)


def _name(chooser: Json) -> str:
    return f"- {chooser['name']}" if chooser["kind"] == "ablation" else str(chooser["name"])
