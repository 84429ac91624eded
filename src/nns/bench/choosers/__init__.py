"""Ways of choosing a network for a dataset: the baselines, space methods, and what is left of them without a part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nns.bench.choosers._base import Chooser, Question, Scene
from nns.bench.choosers.ablations import ablations_of
from nns.bench.choosers.at_large import AtLargeChooser, ProbedAtLargeChooser
from nns.bench.choosers.halving import HalvingChooser
from nns.bench.choosers.history import NearestChooser, StaticChooser
from nns.bench.choosers.plain import (
    GeneralistChooser,
    ImageNetChooser,
    LargestChooser,
    OracleChooser,
    PublishedChooser,
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
    without_history,
)
from nns.bench.choosers.timing import SearchSeconds
from nns.searching.probes import make_probe

if TYPE_CHECKING:
    from nns.plugins import Registry

__all__ = ["FEW_IMAGES", "PRIOR", "STATIC", "TANS_EPOCHS", "Chooser", "Fits", "Question", "Scene", "standard_choosers"]

STATIC = "static mean rank"
"""Name of the chooser that others are compared with."""

PRIOR = "static, by the prior"
"""Name of the other static ranking that they are compared with: what the measured method knows without images."""

TANS_EPOCHS = 10_000
FEW_IMAGES = 16
"""Query images of a search that looks at few."""


def _title(registry: Registry, probe: str) -> str | None:
    """Return what a probe is called; None if the plugin that had it is gone."""
    return make_probe(registry, probe).title if probe in registry.names("probe") else None


def standard_choosers(
    scene: Scene,
    fits: Fits,
    method: str,
    seeds: Sequence[int],
    seconds: SearchSeconds,
    few: SearchSeconds,
    ablations: bool,
    tans_epochs: int = TANS_EPOCHS,
) -> list[Chooser]:
    """List the choosers of PROTOCOL.md, the measured method first."""
    tans = Variant("tans", {"epochs": tans_epochs}, without_history)
    own = SpaceChooser(f"nns ({method})", scene, Variant(method), fits, seeds, seconds)
    glance = Variant(method, images=FEW_IMAGES)
    published = SpaceChooser("TANS as published", scene, tans, fits, seeds, seconds, kind="baseline")
    choosers: list[Chooser] = [
        own,
        TogetherChooser(own),
        SpaceChooser(f"nns ({method}), {FEW_IMAGES} images", scene, glance, fits, seeds, few),
        OracleChooser("oracle", scene),
        ValidationChooser("all fine-tuned, best on validation", scene),
        StaticChooser(STATIC, scene),
        SpaceChooser(PRIOR, scene, Variant(method, order=prior_alone), fits, seeds, SearchSeconds(), kind="baseline"),
        NearestChooser("nearest dataset's winner", scene, seconds),
        *[ProbeChooser(name, scene, seconds.reading, _title(fits.registry, name)) for name in scene.matrix.scores],
        published,
        LargestChooser("largest that fits", scene),
        ImageNetChooser("best on ImageNet that fits", scene),
        PublishedChooser("best on sketches and renditions that fits", scene),
        GeneralistChooser("largest generalist that fits", scene),
        RandomChooser("random", scene),
    ]
    if scene.matrix.zoo.facts:
        choosers[1:1] = [
            AtLargeChooser("nns, no space", scene, seconds),
            AtLargeChooser("nns, no space, no results", scene, seconds, results=False),
        ]
        if "ridge" in scene.matrix.scores:
            choosers[3:3] = [
                ProbedAtLargeChooser("nns, no space --probe", scene, seconds),
                ProbedAtLargeChooser("nns, no space, no results --probe", scene, seconds, results=False),
            ]
    if "ridge" in scene.matrix.scores:
        probed = ProbedSpaceChooser(f"nns ({method}) --probe", scene, Variant(method), fits, seeds, seconds)
        choosers[1:1] = [probed, TogetherChooser(probed)]
    if not scene.head_only:  # a head has no epochs to be halved
        choosers.append(HalvingChooser("successive halving", scene))
    if scene.matrix.zoo.pairs_by_results:  # nothing to learn pairs from without results of fine-tunings
        choosers.remove(published)
    if ablations:
        choosers += [
            SpaceChooser(name, scene, variant, fits, seeds, seconds, kind="ablation")
            for name, variant in ablations_of(method).items()
            if variant.data is not without_history or not scene.matrix.zoo.pairs_by_results
        ]
    return choosers
