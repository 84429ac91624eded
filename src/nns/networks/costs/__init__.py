"""What a network costs: parameters, multiply-accumulates, bytes, latency."""

from nns.networks.costs.counting import count_cost
from nns.networks.costs.latency import device_key, measure_latency

__all__ = ["count_cost", "device_key", "measure_latency"]
