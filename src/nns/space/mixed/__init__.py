"""The default method, `mixed`: TANS with inputs that every architecture has, and what only it uses."""

from nns.space.mixed.method import Mixed

__all__ = ["Mixed"]
