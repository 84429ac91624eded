"""The command line: each command parses, makes one library call and renders. docs/cli.md is generated from it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable

from nns.errors import EXIT_INTERRUPTED, NnsError, PluginError
from nns.threads import prepare_process

__all__ = ["main"]


started: float | None = None
"""When the command began, as :func:`time.perf_counter` has it; None outside of :func:`main`."""


def main() -> None:
    """Run ``nns``: the one place where errors and signals become messages and exit codes."""
    global started
    started = time.perf_counter()
    prepare_process()
    from nns.cli.signals import ending_signals

    with ending_signals():  # first: what comes next takes a third of a second
        from nns.cli.streams import standard_streams

        with standard_streams():
            code = _exit_code(_run)
            code = _exit_code(sys.stdout.flush) or code
    sys.exit(code)


def _run() -> None:
    from nns.cli.app import app
    from nns.cli.text import escape_logs

    escape_logs()
    app()


def _exit_code(run: Callable[[], object]) -> int:
    """Run something, say on one line of stderr what went wrong, and return the exit code."""
    from nns.cli.signals import complaint, exit_code, received

    try:
        run()
        return 0
    except NnsError as error:
        if received() and isinstance(error, PluginError):  # as of a package whose import was ended
            _complain(complaint())
            return exit_code()
        _complain(in_options(str(error)))
        return error.exit_code
    except KeyboardInterrupt:
        _complain(complaint())
        return exit_code()
    except SystemExit as ended:
        # Typer turns Ctrl-C within a command into this exit code, silently
        if isinstance(getattr(ended.__context__, "__cause__", None), KeyboardInterrupt):
            _complain(complaint())
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        return exit_code() if code == EXIT_INTERRUPTED and received() else code
    except MemoryError:
        _complain("there is not enough memory for this")
    except OSError as error:
        if error.strerror is None:
            return _unexpected(error)
        where = f" ({error.filename})" if error.filename else ""
        _complain(f"{error.strerror}{where}")
    except Exception as error:  # noqa: BLE001 - a fault of whatever runs here: it is shown, escaped
        if not received():
            return _unexpected(error)
        _complain(complaint())  # C code that was called back from may make anything of a KeyboardInterrupt
        return exit_code()
    return 1


OPTIONS = {"tries": "--try", "backends": "--backend"}
"""Options that are not called as the arguments of the library are."""


def in_options(message: str) -> str:
    """Name options where the library names its arguments: `` `trust_pickle` ``, ``max_params=5M``, ``top must be``."""

    def option(name: str) -> str:
        return OPTIONS.get(name, "--" + name.replace("_", "-"))

    named = r"\b(max_params|max_macs|max_size|max_latency|image_size)="
    message = re.sub(named, lambda found: f"{option(found[1])} ", message)
    message = re.sub("`([a-z_]+)`", lambda found: option(found[1]), message)
    message = re.sub(r"^(top|images|tries) must", lambda found: f"{option(found[1])} must", message)
    return message.replace("is not the JSON of a search", "is not the output of `nns search --json`")


def _unexpected(error: BaseException) -> int:
    """Show where a fault of nns, a plugin or a library came from; what it says may be out of a stranger's file."""
    from nns.cli.text import traceback_of

    print(traceback_of(error), file=sys.stderr)
    return 1


def _complain(message: str) -> None:
    from nns.cli.text import printable

    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
