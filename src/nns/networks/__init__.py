"""Networks of a zoo: their cost, latency and fingerprints."""

from nns.networks.bringing import bring_weights
from nns.networks.checking import check_records
from nns.networks.counting import count_cost
from nns.networks.describing import Origin, describe_network, describe_supernet, serialise
from nns.networks.fingerprints import fingerprint_network
from nns.networks.latency import device_key, latencies, measure_latency
from nns.networks.network import Network, Supernet
from nns.networks.weights import WeightsPlace, packaged_weights

__all__ = [
    "Network",
    "Origin",
    "Supernet",
    "WeightsPlace",
    "bring_weights",
    "check_records",
    "count_cost",
    "describe_network",
    "describe_supernet",
    "device_key",
    "fingerprint_network",
    "latencies",
    "measure_latency",
    "packaged_weights",
    "serialise",
]
