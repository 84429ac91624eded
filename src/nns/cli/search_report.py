"""``nns search --report FILE.html``: the answer of a search as one page that needs nothing else, no network either.

Names in a zoo come from strangers. In the page they are escaped, in the figures too, whose labels understand some HTML.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.cli.explanation import gain_sentence
from nns.cli.text import one_line
from nns.errors import UsageError

if TYPE_CHECKING:
    from nns.searching import Candidate, SearchResult

ID_SHOWN = 10
TERMS_SHOWN = 10
"""Candidates whose score is taken apart."""

CHOSEN, OTHER, STATIC = "#0b6e4f", "#8fa3ad", "#c8553d"
TERM_COLOURS = {
    "prior": "#8fa3ad",
    "history": "#0b6e4f",
    "source": "#e0a458",
    "space": "#5b7db1",
    "probe": "#8e5572",
}
"""Of the parts of a score; others get those of plotly."""

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2529; background: #fff; margin: 2.5rem auto; max-width: 72rem;
  padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem; }
p { margin: .4rem 0; max-width: 48rem; } .quiet { color: #5b6b73; } .answer { font-size: 1.05rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #e3e8ea; white-space: nowrap; }
th { font-weight: 600; color: #5b6b73; border-bottom-color: #b8c3c8; } .n { text-align: right; }
tr.few td { background: #eef6f2; } code { font-size: .92em; } footer { margin-top: 2.5rem; font-size: .87rem; }
"""


def check_report(path: Path) -> None:
    """See before the search whether the page can be written.

    Raises:
        UsageError: If plotly is not installed, or the folder is not there.
    """
    from importlib.util import find_spec

    if find_spec("plotly") is None:
        raise UsageError("--report draws with plotly, which is not installed: pip install 'nns[report]'")
    if path.is_dir():
        raise UsageError(f"--report {str(path)!r} is a folder; name a file, e.g. {str(path / 'search.html')!r}")
    if not path.parent.is_dir():
        raise UsageError(f"--report {str(path)!r}: there is no folder {str(path.parent)!r}")


def write_report(result: SearchResult, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        UsageError: If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(report_page(result), encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def report_page(result: SearchResult) -> str:
    """Return the page of a search: what to start from, figures, candidates, similar datasets."""
    from nns import __version__
    from nns.quantities import format_seconds

    data, few = result.dataset, result.together
    classes = f"{data.classes} classes" if data.classes is not None else "no labels"
    names, sentence = ", ".join(_named(candidate) for candidate in few), gain_sentence(result)
    parts = [
        f"<h1>{_text(data.path)}</h1>",
        f'<p class="quiet">{data.images} images, {classes}; {result.feasible} of {result.zoo_networks} networks of '
        f"{_text(result.zoo_path)} are within the limits ({_text(limits_sentence(result))}).</p>",
        f'<p class="answer">Start from <strong>{_named(result.candidates[0])}</strong>.</p>',
        f"<p>To fine-tune {len(few)} and keep the best: {names}.</p>" if len(few) > 1 else "",
        f"<p>{_text(sentence[0].upper() + sentence[1:])}</p>",
        _far(result),
        "<h2>Expected accuracy, with its 80 % interval, against size</h2>",
        _html(size_figure(result), first=True),
        "<h2>Candidates</h2>",
        _candidates(result),
        "<h2>What the scores are made of</h2>",
        _html(terms_figure(result)),
        "<h2>Datasets of the zoo most like yours</h2>",
        _neighbours(result),
        f'<footer class="quiet">nns {_text(__version__)}; space {_text(result.space)}; zoo <code>'
        f"{_text(result.zoo_digest[:16])}</code>; dataset <code>{_text(data.digest[:16])}</code>; "
        f"{format_seconds(result.seconds.total)} in all.</footer>",
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(data.path)} · nns search</title><style>{STYLE}</style></head>\n<body>"
        + "\n".join(part for part in parts if part)
        + "</body></html>\n"
    )


def limits_sentence(result: SearchResult) -> str:
    """Say the limits in words."""
    from nns.quantities import format_bytes, format_count, format_seconds

    limits = result.limits
    said = [
        f"{format_count(limits.max_params)} parameters" if limits.max_params is not None else "",
        f"{format_count(limits.max_macs)} MACs" if limits.max_macs is not None else "",
        format_bytes(limits.max_size) if limits.max_size is not None else "",
        format_seconds(limits.max_latency) if limits.max_latency is not None else "",
        f"backend {limits.backend}" if limits.backend is not None else "",
        f"licence {limits.license}" if limits.license is not None else "",
    ]
    return ", ".join(each for each in said if each) or "none given"


def size_figure(result: SearchResult) -> Any:
    """Draw predicted accuracy, in %, with its 80 % interval against parameters on a logarithmic axis."""
    from plotly import graph_objects

    few, shown = _shown(result)
    groups: list[tuple[str, str, str, list[Candidate]]] = [
        ("other candidates", OTHER, "circle", [each for key, each in shown.items() if key not in few]),
        ("to fine-tune together", CHOSEN, "circle", [each for key, each in shown.items() if key in few]),
        ("static choice", STATIC, "diamond-open", [result.static_choice]),
    ]
    figure = graph_objects.Figure()
    for name, colour, symbol, candidates in groups:
        if candidates:
            figure.add_scatter(
                x=[candidate.params for candidate in candidates],
                y=[100 * candidate.predicted_accuracy for candidate in candidates],
                error_y=_errors(candidates, colour),
                mode="markers",
                name=name,
                marker={"color": colour, "size": 13 if symbol != "circle" else 9, "symbol": symbol},
                text=[f"number {candidate.rank}: {_named(candidate)}" for candidate in candidates],
                hovertemplate="%{text}<br>%{x:.3s} parameters, %{y:.0f} %<extra></extra>",
            )
    figure.update_xaxes(title="parameters, with the head that your data needs", type="log", exponentformat="SI")
    figure.update_yaxes(title="expected accuracy, %", range=[0, 100])
    return _styled(figure, 420)


def terms_figure(result: SearchResult) -> Any:
    """Draw the parts of the best candidates' scores, in logits, as stacked bars."""
    from plotly import graph_objects

    shown = list(result.candidates[:TERMS_SHOWN])
    names = list(dict.fromkeys(name for candidate in shown for name in candidate.terms))
    labels = [f"{each.rank} · {_text(each.entry.spec.name)}, {_text(each.entry.id[:ID_SHOWN])}" for each in shown]
    figure = graph_objects.Figure()
    for name in names:
        colour = {"color": TERM_COLOURS[name]} if name in TERM_COLOURS else None
        figure.add_bar(
            y=labels,
            x=[candidate.terms.get(name, 0.0) for candidate in shown],
            name=_text(name),
            orientation="h",
            marker=colour,
            hovertemplate="%{x:+.2f}<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(barmode="relative")
    figure.update_xaxes(title="logits")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return _styled(figure, 120 + 30 * len(shown))


def _shown(result: SearchResult) -> tuple[set[str], dict[str, Candidate]]:
    """Return the ids of those to fine-tune together, and all that are to be shown by id."""
    every = (*result.candidates, *result.together)
    return {candidate.entry.id for candidate in result.together}, {each.entry.id: each for each in every}


def _errors(candidates: Sequence[Candidate], colour: str) -> dict[str, Any] | None:
    intervals = [each.interval for each in candidates]
    if any(interval is None for interval in intervals):
        return None
    pairs = [(each.predicted_accuracy, *each.interval) for each in candidates if each.interval is not None]
    up, down = ([100 * (high - at) for at, _, high in pairs], [100 * (at - low) for at, low, _ in pairs])
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1, "color": colour}


def _styled(figure: Any, height: int) -> Any:
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#1c2529"},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    return figure


def _html(figure: Any, first: bool = False) -> str:
    markup: str = figure.to_html(
        full_html=False, include_plotlyjs=first, config={"displayModeBar": False, "responsive": True}
    )
    return markup


def _candidates(result: SearchResult) -> str:
    from nns.quantities import format_count, format_seconds

    few, shown = _shown(result)
    timed = any(candidate.latency is not None for candidate in shown.values())
    probed = any(candidate.probe is not None for candidate in shown.values())
    columns = [("#", True), ("network", False), ("architecture", False), ("trained on", False), ("params", True)]
    columns += [("MACs", True), *([("latency", True)] if timed else []), ("expected", True), ("80 % interval", True)]
    columns += [*([("probe", True)] if probed else []), ("score", True), ("licence", False)]
    rows = []
    for each in shown.values():
        interval = "-" if each.interval is None else f"{100 * each.interval[0]:.0f} to {100 * each.interval[1]:.0f} %"
        cells = [str(each.rank), f"<code>{_text(each.entry.id)}</code>", _text(each.entry.spec.name)]
        cells += [_text(each.entry.source_dataset), format_count(each.params), format_count(each.macs)]
        cells += [format_seconds(each.latency) if each.latency is not None else "-"] if timed else []
        cells += [f"{each.predicted_accuracy:.0%}", interval]
        cells += [f"{each.probe:.0%}" if each.probe is not None else "-"] if probed else []
        cells += [f"{each.score:.2f}", _text(each.entry.license or "-")]
        rows.append((cells, each.entry.id in few))
    return _table(columns, rows)


def _neighbours(result: SearchResult) -> str:
    columns = [("dataset", False), ("distance", True), ("best network there", False), ("accuracy", True)]
    rows = []
    for each in result.neighbourhood.nearest:
        accuracy = "-" if math.isnan(each.accuracy) else f"{each.accuracy:.0%}"
        winner = f"<code>{_text(each.winner)}</code>" if each.winner else "-"
        rows.append(([_text(each.name), f"{each.distance:.2f}", winner, accuracy], False))
    return _table(columns, rows)


def _table(columns: Sequence[tuple[str, bool]], rows: Sequence[tuple[Sequence[str], bool]]) -> str:
    """Make a table of markup that is escaped already; numbers to the right, marked rows in another colour."""
    classes = [' class="n"' if number else "" for _, number in columns]
    head = "".join(f"<th{kind}>{name}</th>" for kind, (name, _) in zip(classes, columns, strict=True))
    marks = {True: '<tr class="few">', False: "<tr>"}
    body = "\n".join(
        marks[marked] + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(classes, cells, strict=True)) + "</tr>"
        for cells, marked in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _far(result: SearchResult) -> str:
    if not result.neighbourhood.far:
        return ""
    return (
        "<p>Your images are far from every dataset of the zoo: expect less of the ranking than of its static "
        "choice.</p>"
    )


def _named(candidate: Candidate) -> str:
    entry = candidate.entry
    return f"{_text(entry.id[:ID_SHOWN])} ({_text(entry.spec.name)}, {_text(entry.source_dataset)})"


def _text(text: str) -> str:
    """Make a text of whatever origin harmless in markup."""
    return escape(one_line(text))
