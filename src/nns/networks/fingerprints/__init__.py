"""Fingerprints: what the space sees of a network, whatever its backend."""

from nns.networks.fingerprints.graph import GRAPH_DIM, GRAPH_STATISTICS
from nns.networks.fingerprints.reference import REFERENCE_COUNT
from nns.networks.fingerprints.surprise import SURPRISE_ROWS
from nns.networks.fingerprints.tracing import fingerprint_network

__all__ = ["GRAPH_DIM", "GRAPH_STATISTICS", "REFERENCE_COUNT", "SURPRISE_ROWS", "fingerprint_network"]
