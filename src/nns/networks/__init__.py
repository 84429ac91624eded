"""Networks of a zoo: their cost, latency and fingerprints."""

from nns.networks.costs import count_cost, device_key, measure_latency
from nns.networks.fingerprints import fingerprint_network

__all__ = ["count_cost", "device_key", "fingerprint_network", "measure_latency"]
