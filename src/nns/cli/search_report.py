"""``nns search --report FILE.html``: the answer of a search as one page that needs nothing else, no network either.

Names in a zoo come from strangers. In the page they are escaped, in the figures too, whose labels understand some HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.cli import pages
from nns.cli.explanation import gain_sentence
from nns.cli.text import one_line

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

PACKAGES = "plotly", "jinja2"
"""What the extra ``report`` brings."""


def check_report(path: Path) -> None:
    """See before the search whether the page can be written.

    Raises:
        UsageError: If plotly or jinja2 is not installed, or the folder is not there.
    """
    pages.check_report(path, PACKAGES)


def write_report(result: SearchResult, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        UsageError: If it cannot be written.
    """
    pages.write_page(path, report_page(result))


def report_page(result: SearchResult) -> str:
    """Return the page of a search: what to start from, figures, candidates, similar datasets."""
    from nns import __version__

    few, shown = _shown(result)
    sentence = gain_sentence(result)
    return (
        pages.environment()
        .get_template("search_report.html.j2")
        .render(
            result=result,
            few=few,
            shown=list(shown.values()),
            limits=limits_sentence(result),
            gain=sentence[0].upper() + sentence[1:],
            size_figure=_html(size_figure(result), first=True),
            terms_figure=_html(terms_figure(result)),
            version=__version__,
        )
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


def _html(figure: Any, first: bool = False) -> Any:
    from markupsafe import Markup

    config = {"displayModeBar": False, "responsive": True}
    # plotly's own markup: the labels in it were escaped as they went into the figure
    return Markup(figure.to_html(full_html=False, include_plotlyjs=first, config=config))


def _named(candidate: Candidate) -> str:
    entry = candidate.entry
    return f"{_text(entry.id[:ID_SHOWN])} ({_text(entry.spec.name)}, {_text(entry.source_dataset)})"


def _text(text: str) -> str:
    """Make a text of whatever origin harmless in markup."""
    return escape(one_line(text))
