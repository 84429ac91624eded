"""Building a zoo: datasets x architectures, trained, fingerprinted and stored."""

from nns.building.build_file import read_build_file, write_build_file
from nns.building.building import build_zoo
from nns.building.estimate import BuildEstimate, estimate_build
from nns.building.events import BuildEvent, BuildReport
from nns.building.executors import default_workers
from nns.building.plan import BuildItem
from nns.building.settings import BuildSettings, SearchSpace
from nns.building.transfers import TransferItem

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
    "read_build_file",
    "write_build_file",
]
