"""The reproducibility check: build, fit and search again, and compare with what a lock file says."""

from nns.repro.checking import check, record, update
from nns.repro.comparing import StageResult
from nns.repro.describing import StageRecord
from nns.repro.lock import Lock, read_lock
from nns.repro.results import CheckReport, RecordReport
from nns.repro.settings import DEFAULT_TOLERANCE, DIGITS, STAGES, FineTuneSettings, ReproSettings

__all__ = [
    "DEFAULT_TOLERANCE",
    "DIGITS",
    "STAGES",
    "CheckReport",
    "FineTuneSettings",
    "Lock",
    "RecordReport",
    "ReproSettings",
    "StageRecord",
    "StageResult",
    "check",
    "read_lock",
    "record",
    "update",
]
