"""Probes: scores of how well a frozen network's features tell the classes of labelled images apart.

One file a probe. Everything is loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns._lazy import lazy_names

if TYPE_CHECKING:
    from nns.searching.probes._base import Probe, moved_accuracy, probe_terms
    from nns.searching.probes._builtin import builtin_probes
    from nns.searching.probes._checks import checked
    from nns.searching.probes.features import features_of
    from nns.searching.probes.running import check_probe, make_probe, run_probe

_HOMES = {
    "Probe": "_base",
    "builtin_probes": "_builtin",
    "check_probe": "running",
    "checked": "_checks",
    "features_of": "features",
    "make_probe": "running",
    "moved_accuracy": "_base",
    "probe_terms": "_base",
    "run_probe": "running",
}

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

__getattr__ = lazy_names(__name__, _HOMES)
