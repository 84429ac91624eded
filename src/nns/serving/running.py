"""From settings to processes that answer, until a signal ends them."""

from __future__ import annotations

import errno
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

from nns.errors import NnsError, UsageError
from nns.serving.rates import Rates
from nns.serving.settings import Settings

if TYPE_CHECKING:
    from uvicorn import Config

PACKAGES = ("fastapi", "uvicorn", "python_multipart")
"""What the extra ``serve`` brings."""

SWITCH = 0.0005
"""Seconds after which another thread of a process may go on."""

GRACE = 10
"""Seconds that searches under way have when the service is ended."""


class Listening(socket.socket):
    """A bound socket; another process that is given it gets one of its own, bound to the same address.

    So the kernel deals connections out. Of processes that shared one socket the first got 56 of 64 and kept them.
    """

    def __reduce__(self) -> Any:
        """Go to another process."""
        return _bound, (self.family, self.type, self.getsockname())


def _bound(family: int, kind: int, address: Any) -> Listening:
    bound = Listening(family, kind)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(address)
    return bound


def check_packages() -> None:
    """See that there is a web framework.

    Raises:
        UsageError: If not.
    """
    from importlib.util import find_spec

    if missing := [each.replace("_", "-") for each in PACKAGES if find_spec(each) is None]:
        raise UsageError(f"to serve needs {' and '.join(missing)}: pip install 'nns[serve]'")


def serve(settings: Settings, tell: Callable[[str], None]) -> None:
    """Answer until SIGINT or SIGTERM; searches under way are answered first.

    Args:
        settings: What, where and within which limits.
        tell: Called with the address once it can be asked.

    Raises:
        NnsError: If the zoo cannot be searched in, or the address cannot be listened on.
    """
    check_packages()
    from nns.serving.served import ServedZoo

    # here, where it is an error of the command: a process of its own could but end
    ready = ServedZoo(settings.zoo, settings.space).ready
    about = f"{len(ready.zoo):,} networks of {settings.zoo}"
    del ready
    listening = _listen(settings)
    with listening:
        host, port = listening.getsockname()[:2]
        named = f"[{host}]" if ":" in host else host
        what = f"serving {about} at {'https' if settings.tls_cert else 'http'}://{named}:{port} (Ctrl-C ends it)"
        Thread(target=_when_asked, args=(host, port, lambda: tell(what)), daemon=True).start()
        _run(_config(settings), listening)


def _when_asked(host: str, port: int, call: Callable[[], None]) -> None:
    """Call something once somebody answers: processes read the zoo before they listen."""
    while True:
        with suppress(OSError), socket.create_connection((host, port), 1):
            return call()
        time.sleep(0.05)


def _listen(settings: Settings) -> socket.socket:
    """Bind a socket; where processes share one, who listens here already is found by trying."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        if settings.workers > 1 and sys.platform == "linux":
            address = bound.getsockname()
            bound.close()
            bound = _bound(family, kind, address)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            why += "; give another `port` (0: any that is free)"
        raise UsageError(f"cannot listen on {settings.host!r}, port {settings.port}: {why}") from error
    return bound


def _config(settings: Settings) -> Config:
    from uvicorn import Config

    from nns.serving.patience import PatientProtocol

    return Config(
        partial(_app, settings, Rates(settings.rate)),
        factory=True,
        http=PatientProtocol,
        workers=settings.workers,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whoever asks could call itself another, and no address had a rate
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE,
        limit_concurrency=1000,
        h11_max_incomplete_event_size=64 << 10,
        ws="none",
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


def _app(settings: Settings, rates: Rates) -> object:
    from nns.threads import prepare_process

    prepare_process()
    # a search is a hundred short calls of numpy, after each of which a thread that reads a new zoo had 5 ms
    sys.setswitchinterval(SWITCH)
    from nns.serving.app import make_app

    return make_app(settings, rates)


def _run(config: Config, listening: socket.socket) -> None:
    from uvicorn import Server

    # uvicorn ends gracefully and then raises the signal again, for whoever started it
    with suppress(KeyboardInterrupt):
        if config.workers == 1:
            Server(config).run(sockets=[listening])
            return
        from uvicorn.supervisors import Multiprocess

        supervisor = Multiprocess(config, sockets=[listening])
        supervisor.run()
        if any(process.exitcode == 3 for process in supervisor.processes):
            raise NnsError("the service did not start; its processes said why")
