"""Why a search ranks as it does, in words and numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nns.quantities import counted

if TYPE_CHECKING:
    from nns.searching import Candidate, SearchResult

ID_SHOWN = 10
EXPLAINED = 5
"""Candidates whose score is taken apart."""


def render_explanation(result: SearchResult) -> None:
    """Print the nearest datasets, the parts of the scores, and what is gained over the static choice."""
    from nns.cli.output import print_text

    _render_neighbours(result)
    _render_terms(result)
    print_text(own_sentence(result))
    print_text(gain_sentence(result))


def own_sentence(result: SearchResult) -> str:
    """Say how many results of the user's own counted."""
    own = result.own
    if own is None or not own.results:
        return "No result of your own counted: each `nns finetune` of yours adds to what `nns history ls` shows."
    results = f"{counted(own.results, 'result')} of your own on {counted(own.datasets, 'dataset')}"
    return f"{results} counted (term own); most like these images is {own.nearest}, likeness {own.likeness:.2f}."


def gain_sentence(result: SearchResult) -> str:
    """Say what the choice is expected to gain over the static choice."""
    choice, static = result.candidates[0], result.static_choice
    named = f"static choice {_short(static)}, nns choice {_short(choice)}"
    if choice.entry.id == static.entry.id:
        return f"{named}: the same, so nothing is gained or lost."
    gain = f"expected gain {result.gain.points:+.1f} points"
    if result.gain.interval is None:
        return f"{named}, {gain} (interval unknown: the zoo has too few results on other datasets)."
    low, high = result.gain.interval
    return f"{named}, {gain} (80 % interval {low:+.1f} to {high:+.1f})."


def _short(candidate: Candidate) -> str:
    return f"{candidate.entry.id[:ID_SHOWN]} ({candidate.entry.spec.name}, {candidate.entry.source_dataset})"


def _render_neighbours(result: SearchResult) -> None:
    from nns.cli.output import print_table

    hood = result.neighbourhood
    rows = [
        [
            neighbour.name,
            f"{neighbour.distance:.2f}",
            neighbour.winner[:ID_SHOWN] or "-",
            "-" if math.isnan(neighbour.accuracy) else f"{neighbour.accuracy:.0%}",
        ]
        for neighbour in hood.nearest
    ]
    usual = "" if math.isnan(hood.usual) else f"95 % of the zoo's datasets have a neighbour within {hood.usual:.2f}. "
    print_table(
        "Datasets of the zoo most like yours",
        [("dataset", "left"), ("distance", "right"), ("won there", "left"), ("accuracy", "right")],
        rows,
        caption=usual + ("Yours has none so near." if hood.far else "Yours has, too." if usual else ""),
        least=("won there",),
    )


def _render_terms(result: SearchResult) -> None:
    from nns.cli.output import print_table

    shown = list(result.candidates[:EXPLAINED])
    names = list(dict.fromkeys(name for candidate in shown for name in candidate.terms))
    rows = [
        [str(candidate.rank), candidate.entry.id[:ID_SHOWN], candidate.entry.spec.name]
        + [f"{candidate.terms[name]:+.2f}" if name in candidate.terms else "-" for name in names]
        + [f"{candidate.score:.2f}"]
        for candidate in shown
    ]
    columns = [("#", "right"), ("network", "left"), ("architecture", "left")]
    columns += [(name, "right") for name in names] + [("score", "right")]
    print_table(
        "What the scores are made of, in logits", columns, rows, _of_prior(result), ["architecture", *reversed(names)]
    )


def _of_prior(result: SearchResult) -> str:
    """Say what the prior rests on."""
    from nns.priors import shipped_prior

    numbers = shipped_prior().rests_on
    return (
        "prior: how good a network is to start from whatever the images. At first by what it was trained on, its size "
        f"and its published accuracy, as {numbers['results']:,} results of {numbers['networks']} networks teach that "
        "come with nns; the more results the zoo has, the more by those."
    )
