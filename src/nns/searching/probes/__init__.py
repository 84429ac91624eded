"""Probes: scores of how well a frozen network's features tell the classes of labelled images apart.

One file a probe. Everything is loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns._lazy import homes, lazy_names

if TYPE_CHECKING:
    from nns.searching.probes._base import Probe, moved_accuracy, probe_terms
    from nns.searching.probes._builtin import builtin_probes
    from nns.searching.probes._checks import checked
    from nns.searching.probes.features import features_of
    from nns.searching.probes.running import check_probe, make_probe, run_probe

_HOMES = homes(
    {
        "_base": "Probe moved_accuracy probe_terms",
        "_builtin": "builtin_probes",
        "_checks": "checked",
        "features": "features_of",
        "running": "check_probe make_probe run_probe",
    }
)

__all__ = [
    "Probe",
    "builtin_probes",
    "check_probe",
    "checked",
    "features_of",
    "make_probe",
    "moved_accuracy",
    "probe_terms",
    "run_probe",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
