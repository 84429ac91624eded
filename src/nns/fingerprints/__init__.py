"""Fingerprints: what the space sees of a network, whatever its backend."""

from nns.fingerprints.graph import GRAPH_DIM, GRAPH_STATISTICS
from nns.fingerprints.probes import PROBE_COUNT
from nns.fingerprints.surprise import SURPRISE_ROWS
from nns.fingerprints.tracing import fingerprint_network

__all__ = ["GRAPH_DIM", "GRAPH_STATISTICS", "PROBE_COUNT", "SURPRISE_ROWS", "fingerprint_network"]
