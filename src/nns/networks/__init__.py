"""Networks of a zoo: their cost, latency and fingerprints."""
