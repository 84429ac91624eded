"""The reproducibility check: build, fit and search again, and compare with what a lock file says."""

from nns.pipeline.repro.checking import CheckReport, RecordReport, check, record
from nns.pipeline.repro.comparing import StageResult
from nns.pipeline.repro.lock import Lock, read_lock
from nns.pipeline.repro.settings import DEFAULT_TOLERANCE, STAGES, ReproSettings
from nns.pipeline.repro.stages import StageRecord

__all__ = [
    "DEFAULT_TOLERANCE",
    "STAGES",
    "CheckReport",
    "Lock",
    "RecordReport",
    "ReproSettings",
    "StageRecord",
    "StageResult",
    "check",
    "read_lock",
    "record",
]
