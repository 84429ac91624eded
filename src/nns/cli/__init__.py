"""The command line: each command parses, makes one library call and renders. docs/cli.md is generated from it."""

from __future__ import annotations

import re
import sys

from nns.errors import EXIT_INTERRUPTED, NnsError

__all__ = ["main"]


def main() -> None:
    """Run ``nns``: the one place where errors become messages and exit codes."""
    from nns.cli.app import app

    try:
        app()
    except NnsError as error:
        _complain(in_options(str(error)))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _complain("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as ended:
        # Typer turns Ctrl-C within a command into this exit code, silently
        if isinstance(getattr(ended.__context__, "__cause__", None), KeyboardInterrupt):
            _complain("interrupted")
        raise
    except MemoryError:
        _complain("there is not enough memory for this")
        sys.exit(1)
    except OSError as error:
        if error.strerror is None:
            raise
        where = f" ({error.filename})" if error.filename else ""
        _complain(f"{error.strerror}{where}")
        sys.exit(1)


OPTIONS = {"tries": "--try", "backends": "--backend"}
"""Options that are not called as the arguments of the library are."""


def in_options(message: str) -> str:
    """Name options where the library names its arguments: `` `trust_pickle` ``, ``max_params=5M``, ``top must be``."""

    def option(name: str) -> str:
        return OPTIONS.get(name, "--" + name.replace("_", "-"))

    message = re.sub(r"\b(max_params|max_macs|max_size|max_latency)=", lambda found: f"{option(found[1])} ", message)
    message = re.sub("`([a-z_]+)`", lambda found: option(found[1]), message)
    message = re.sub(r"^(top|images|tries) must", lambda found: f"{option(found[1])} must", message)
    return message.replace("is not the JSON of a search", "is not the output of `nns search --json`")


def _complain(message: str) -> None:
    from nns.cli.text import printable

    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
