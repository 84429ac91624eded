"""Facts that any network has, and what they are as numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from nns.stores._description import Description
    from nns.types import NetworkEntry

FEATURES = (
    "photographs",  # its weights come from ImageNet or more
    "more photographs",  # from more than ImageNet-1k
    "refined",  # and were then trained on a small set
    "first stages",  # of such a network
    "taught",  # learned another network's features
    "taught on",  # the same, from weights of photographs
    "small set",  # was trained on some thousand images, and on nothing else
    "images seen",  # log10 of the thousands, if not of photographs at large
    "size, photographs",  # log10 of the parameters, beside 3 million
    "size, others",
    "depth of work",  # log10 of MACs a parameter, beside 100
    "published",  # logit of top-1 on ImageNet, beside 75 %
    "own accuracy",  # logit of the accuracy on the small set that it was trained on
)
"""Columns of :meth:`Facts.features`; a network with random weights has none but its size."""

PHOTOGRAPHS, PUBLISHED, SEEN, WORK, OWN = (
    FEATURES.index(name) for name in ("photographs", "published", "images seen", "depth of work", "own accuracy")
)

RANDOM, SMALL, TAUGHT, IMAGENET, LARGER = "random", "small", "taught", "imagenet", "larger"
STARTS = (RANDOM, SMALL, TAUGHT, IMAGENET, LARGER)
"""What a network was trained on first: nothing, a small set, another network's features, ImageNet-1k, more."""

_IMAGENET = re.compile(r"imagenet(-1k)?$|.*_ft_in1k$|ilsvrc", re.IGNORECASE)
_LARGER = re.compile(
    r"imagenet-?(12k|21k|22k)|yfcc|cc12m|lvd|dfn|laion|datacomp|jft|ig1b|swsl|ssl|openai|webli|pt$", re.IGNORECASE
)


@dataclass(frozen=True)
class Facts:
    """What is known of a network without looking at it.

    Attributes:
        start: One of :data:`STARTS`.
        params: Parameters without the head.
        refined: Whether it was trained on a small set after its start.
        cut: Whether it is the first stages of a network.
        taught: Whether it learned another network's features after its start.
        macs: Multiply-accumulates of one image; NaN unknown.
        imagenet: Published top-1 on ImageNet, 0..1; NaN unknown.
        images: Images seen, each as often as it was; NaN unknown.
        accuracy: On the small set that it was trained on, 0..1; NaN unknown.
    """

    start: str
    params: float
    refined: bool = False
    cut: bool = False
    taught: bool = False
    macs: float = math.nan
    imagenet: float = math.nan
    images: float = math.nan
    accuracy: float = math.nan

    @classmethod
    def of(cls, entry: NetworkEntry | Description) -> Self:
        """Read what a zoo says of a network."""
        pretrained = entry.spec.source == "imagenet"
        trained_on = entry.source_dataset
        larger, imagenet = _photographs(trained_on)
        taught = "teachers" in entry.provenance.extra
        small = not (larger or imagenet or taught)
        start = LARGER if larger else IMAGENET if imagenet or pretrained else TAUGHT if taught else SMALL
        published = entry.published.get("imagenet", math.nan)
        if imagenet and not math.isfinite(published):
            published = entry.accuracy  # a zoo of before has it there
        return cls(
            start=start,
            params=entry.cost.body_params,
            refined=small and pretrained,
            taught=taught and start != TAUGHT,
            cut=bool(re.search(r"-s[1-9]$", entry.spec.name)),
            macs=entry.cost.body_macs,
            imagenet=published,
            images=math.nan if entry.provenance.images_seen is None else entry.provenance.images_seen,
            accuracy=entry.accuracy if small else math.nan,
        )

    def features(self) -> list[float]:
        """Return the columns of :data:`FEATURES`; NaN where the fact applies but is not known."""
        photographs = self.start in (IMAGENET, LARGER)
        trained = self.start in (SMALL, TAUGHT)
        size = math.log10(max(self.params, 1.0) / 3e6)
        small = self.start == SMALL or self.refined
        return [
            float(photographs),
            float(self.start == LARGER),
            float(self.refined),
            float(self.cut and photographs),
            float(self.start == TAUGHT),
            float(self.taught),
            float(self.start == SMALL),
            math.log10(1 + self.images / 1000) if trained else 0.0,
            size if photographs else 0.0,
            0.0 if photographs else size,
            math.log10(max(self.macs, 1.0) / max(self.params, 1.0) / 100) if photographs else 0.0,
            logit(self.imagenet) - logit(0.75) if photographs else 0.0,
            logit(self.accuracy) if small else 0.0,
        ]


@lru_cache(maxsize=4096)
def _photographs(trained_on: str) -> tuple[bool, bool]:
    """Tell whether a dataset is more than ImageNet-1k, or is it; kept, since a hub has few names and many networks."""
    return bool(_LARGER.match(trained_on)), bool(_IMAGENET.match(trained_on))


def features(facts: Sequence[Facts]) -> NDArray[np.float64]:
    """Collect the columns of networks, (n, :data:`FEATURES`), NaN where not known."""
    return np.array([each.features() for each in facts], np.float64).reshape(-1, len(FEATURES))


def logit(share: float) -> float:
    """Return the logit of an accuracy, cut off at 1 and 99 %; NaN stays."""
    clipped = share if math.isnan(share) else min(max(share, 0.01), 0.99)
    return math.log(clipped / (1 - clipped))
