"""Building a zoo: datasets x architectures, trained, fingerprinted and stored."""

from nns.pipeline.build.building import build_zoo
from nns.pipeline.build.estimate import BuildEstimate, estimate_build
from nns.pipeline.build.events import BuildEvent, BuildReport
from nns.pipeline.build.executors import default_workers
from nns.pipeline.build.plan import BuildItem
from nns.pipeline.build.recipes import read_recipe, write_recipe
from nns.pipeline.build.settings import BuildSettings, SearchSpace
from nns.pipeline.build.transfers import TransferItem

__all__ = [
    "BuildEstimate",
    "BuildEvent",
    "BuildItem",
    "BuildReport",
    "BuildSettings",
    "SearchSpace",
    "TransferItem",
    "build_zoo",
    "default_workers",
    "estimate_build",
    "read_recipe",
    "write_recipe",
]
