"""The reproducibility check: build, fit and search again, and compare with what a lock file says."""

from nns.repro.checking import CheckReport, RecordReport, check, record
from nns.repro.comparing import StageResult
from nns.repro.lock import Lock, read_lock
from nns.repro.settings import DEFAULT_TOLERANCE, STAGES, ReproSettings
from nns.repro.stages import StageRecord

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
