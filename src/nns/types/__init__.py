"""What passes between the stages: frozen dataclasses, without torch, timm or h5py.

Sizes are plain integers: ``params`` counts scalars, ``macs`` counts multiply-accumulates of one forward
pass of one image, ``bytes`` counts bytes of the weights as fp32, latencies are seconds.
"""

from nns.types.aliases import Augment, Json, Optimizer, PartProgress, Precision, Progress, Settings, SplitName
from nns.types.data import LabelledArrays, Limits, SplitArrays
from nns.types.networks import (
    FINGERPRINT_PARTS,
    FIXED_PARTS,
    MAX_CHANNEL,
    MAX_SIDE,
    ArchitectureSpec,
    Fingerprint,
    NetworkColumns,
    NetworkCost,
    NetworkEntry,
    NetworkRecord,
    Preprocessing,
    Provenance,
    SupernetRecord,
    Training,
)
from nns.types.records import DatasetRecord, Garbage, LatencyRecord, Packing, SpaceRecord, TransferRecord

__all__ = [
    "FINGERPRINT_PARTS",
    "FIXED_PARTS",
    "MAX_CHANNEL",
    "MAX_SIDE",
    "ArchitectureSpec",
    "Augment",
    "DatasetRecord",
    "Fingerprint",
    "Garbage",
    "Json",
    "LabelledArrays",
    "LatencyRecord",
    "Limits",
    "NetworkColumns",
    "NetworkCost",
    "NetworkEntry",
    "NetworkRecord",
    "Optimizer",
    "Packing",
    "PartProgress",
    "Precision",
    "Preprocessing",
    "Progress",
    "Provenance",
    "Settings",
    "SpaceRecord",
    "SplitArrays",
    "SplitName",
    "SupernetRecord",
    "Training",
    "TransferRecord",
]
