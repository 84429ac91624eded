"""The error tree of nns.

Every error that nns raises on purpose derives from :class:`NnsError`, is also the builtin a caller
would expect, and carries the exit code with which the command line ends::

    NnsError                          1
    ├── UsageError(ValueError)        2   a wrong argument: a limit, a name, an option
    │   ├── UnknownNameError          2   no such backend, method, network, device
    │   └── MissingZooError           2   no zoo named and none installed
    ├── DatasetError(ValueError)      3   a dataset that cannot be read or trained on
    ├── ZooError(OSError)             4   damaged, untrusted or foreign zoo file
    ├── NoNetworkError(LookupError)   5   nothing within the limits
    ├── ReproError(AssertionError)    6   a reproducibility check failed
    ├── WeightsError(RuntimeError)    7   weights that cannot be had: offline, refused, wrong bytes
    ├── ServerError(ConnectionError)  8   a server of searches that refuses, or answers nonsense or nothing
    └── PluginError(RuntimeError)     1   a plugin is broken
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C; what was finished is kept."""


LONGEST = 200
"""Characters of an unknown name that a message repeats, at most."""


class NnsError(Exception):
    """Root of all errors raised on purpose. The message names the offending value and the next step."""

    exit_code: int = 1


class UsageError(NnsError, ValueError):
    """A wrong argument."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not registered."""

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        """Build the message from what is known, with a suggestion for a likely misspelling.

        Args:
            kind: What the name stands for, e.g. ``"backend"``.
            name: The name that was not found.
            known: The names that exist.

        Returns:
            The error, to be raised by the caller.
        """
        name = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"  # it may be out of a file, and of any length
        choices = sorted(known)
        close = get_close_matches(name, choices, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        listing = ", ".join(choices[:12]) + (", …" if len(choices) > 12 else "") if choices else "none"
        return cls(f"unknown {kind} {name!r}{hint} (known: {listing})")


class MissingZooError(UsageError):
    """No zoo was named, $NNS_ZOO is unset and no plugin provides one."""


class DatasetError(NnsError, ValueError):
    """A dataset that cannot be read, or not be used for what was asked."""

    exit_code = 3


class ZooError(NnsError, OSError):
    """A zoo file that is damaged, of an unknown version, or no zoo at all."""

    exit_code = 4


class NoNetworkError(NnsError, LookupError):
    """No network meets the limits. The message names the nearest limit that has one."""

    exit_code = 5


class ReproError(NnsError, AssertionError):
    """The same input no longer gives the same answer. The message names the stage."""

    exit_code = 6


class WeightsError(NnsError, RuntimeError):
    """Weights cannot be had: offline, refused, no such file, other bytes than are meant, wrong shapes."""

    exit_code = 7


class ServerError(NnsError, ConnectionError):
    """A server of searches that cannot be asked, refuses, or answers what is no answer."""

    exit_code = 8


class PluginError(NnsError, RuntimeError):
    """A plugin registered something that cannot be used."""
