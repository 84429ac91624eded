"""Locks that check nothing, which are refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nns.errors import UsageError
from nns.repro.describing import NETWORKS_OF, StageRecord

if TYPE_CHECKING:
    from nns.building import BuildSettings


def refuse_idle(stages: Iterable[StageRecord], build: BuildSettings | None) -> None:
    """Refuse what no change would ever be noticed in.

    Args:
        stages: What was recorded.
        build: What the zoo was built from; None: it was there.

    Raises:
        UsageError: If all predictions of a search are equal, or a backend that was asked for has no network.
    """
    for stage in stages:
        if stage.stage == "build" and build is not None:
            for backend in build.backends:
                name = backend.partition(":")[0]
                if f"{NETWORKS_OF}{name}" not in stage.exact:
                    raise UsageError(
                        f"the lock would not check backend {name!r}: the zoo has no network of it; raise `networks`, "
                        "or leave it out"
                    )
        if stage.stage == "search":
            _refuse_equal(stage)


def _refuse_equal(search: StageRecord) -> None:
    for kind in ("predicted accuracy", "score"):
        by_query: dict[str, list[float]] = {}
        for key, value in search.numbers.get(kind, {}).items():
            if "blind to" not in key:
                by_query.setdefault(key.rpartition(": ")[0], []).append(value)
        for query, values in by_query.items():
            if len(set(values)) < 2:
                of = f" of query {query}" if query else ""
                if len(values) == 1:
                    why = "there is one network alone; take a zoo of more, or looser limits"
                else:
                    why = f"the {kind} is {values[0]:g} for all {len(values)} networks; take a zoo of more results"
                raise UsageError(f"a lock of this would check nothing{of}: {why}")
