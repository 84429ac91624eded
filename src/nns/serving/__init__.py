"""Search as a service, and the other end of it: ``nns serve ZOO`` and ``nns search DATA --server URL``.

The web framework is an extra and imported by :mod:`nns.serving.app` and :mod:`nns.serving.running` alone: who asks a
server needs none.
"""
