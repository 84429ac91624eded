"""Ways of choosing a network for a dataset: the baselines, space methods, and what is left of them without a part."""

from __future__ import annotations

from nns.bench.choosers._base import Answer, Chooser, Question, Scene
from nns.bench.choosers.ablations import ABLATIONS, ablations_of
from nns.bench.choosers.halving import HalvingChooser, halve
from nns.bench.choosers.history import NearestChooser, StaticChooser, static_scores
from nns.bench.choosers.plain import (
    ImageNetChooser,
    LargestChooser,
    OracleChooser,
    RandomChooser,
    ValidationChooser,
)
from nns.bench.choosers.probes import ProbeChooser
from nns.bench.choosers.spaces import (
    Fits,
    ProbedSpaceChooser,
    SpaceChooser,
    TogetherChooser,
    Variant,
    prior_alone,
    without_functional,
    without_history,
)
from nns.bench.choosers.timing import SearchSeconds, measure_search

__all__ = [
    "ABLATIONS",
    "Answer",
    "Chooser",
    "Fits",
    "HalvingChooser",
    "ImageNetChooser",
    "LargestChooser",
    "NearestChooser",
    "OracleChooser",
    "ProbeChooser",
    "ProbedSpaceChooser",
    "Question",
    "RandomChooser",
    "Scene",
    "SearchSeconds",
    "SpaceChooser",
    "StaticChooser",
    "TogetherChooser",
    "ValidationChooser",
    "Variant",
    "ablations_of",
    "halve",
    "measure_search",
    "prior_alone",
    "static_scores",
    "without_functional",
    "without_history",
]
