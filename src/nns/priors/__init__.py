"""What is known of networks at large: how good one is to start from, by facts that any network has.

Shipped as a few numbers (``prior.json``) that ``python benchmarks/priors/fit.py`` learns from results of fine-tunings
(``networks.csv``, ``results.csv``). To them a zoo's own results are added by Bayes' rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns._lazy import homes, lazy_names

if TYPE_CHECKING:
    from nns.priors.facts import FEATURES, Facts
    from nns.priors.prior import Knowledge, Prior, Results, shipped_prior

_HOMES = homes({"facts": "FEATURES Facts", "prior": "Knowledge Prior Results shipped_prior"})

__all__ = ["FEATURES", "Facts", "Knowledge", "Prior", "Results", "shipped_prior"]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
