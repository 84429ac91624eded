"""Fingerprints: what the space sees of a network, whatever its backend."""

from nns.networks.fingerprints.graph import GRAPH_DIM, GRAPH_STATISTICS
from nns.networks.fingerprints.probes import PROBE_COUNT
from nns.networks.fingerprints.surprise import SURPRISE_ROWS
from nns.networks.fingerprints.tracing import fingerprint_network

__all__ = ["GRAPH_DIM", "GRAPH_STATISTICS", "PROBE_COUNT", "SURPRISE_ROWS", "fingerprint_network"]
