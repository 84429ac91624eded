"""The zoo: networks to choose from, read through whatever store keeps them."""

from nns.zoo._compare import diff_zoos
from nns.zoo._diff import ZooDiff
from nns.zoo._identity import default_zoo_path, network_id
from nns.zoo._merge import Conflict, MergeConflictError, Merged, merge_zoos
from nns.zoo._sizes import WeightsBytes
from nns.zoo._verify import Problem, verify, verify_path
from nns.zoo._zoo import Zoo, ZooInfo

__all__ = [
    "Conflict",
    "MergeConflictError",
    "Merged",
    "Problem",
    "WeightsBytes",
    "Zoo",
    "ZooDiff",
    "ZooInfo",
    "default_zoo_path",
    "diff_zoos",
    "merge_zoos",
    "network_id",
    "verify",
    "verify_path",
]
