"""How a zoo is served."""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from nns.errors import UsageError
from nns.serving.addresses import is_loopback
from nns.untrusted import Kind, read_file

_log = logging.getLogger("nns")

TOKEN_VARIABLE = "NNS_TOKEN"
MIN_TOKEN = 16
_TOKEN = Kind("a token", 4096)


@dataclass(frozen=True)
class Settings:
    """Where and within which limits a zoo is served.

    Attributes:
        zoo: The zoo.
        space: Name of the space that ranks; None: the default.
        host: Address to listen on.
        port: Port; 0: any that is free.
        token: What clients must know; empty: nothing, which is for this machine alone.
        workers: Processes.
        rate: Searches a second of one address; 0: any number.
        max_bytes: Of a request.
        max_images: Of a search by images.
        seconds: For a request to arrive, and again for its answer.
        tls_cert: Certificate chain (PEM); None: no TLS.
        tls_key: Its key.
    """

    zoo: Path
    space: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    workers: int = 1
    rate: float = 20.0
    max_bytes: int = 64_000_000
    max_images: int = 200
    seconds: float = 30.0
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        """Check all of it.

        Raises:
            UsageError: If something is out of bounds, or others could ask without a token.
        """
        for name in ("workers", "max_bytes", "max_images"):
            if getattr(self, name) < 1:
                raise UsageError(f"`{name}` must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.port < 1 << 16:
            raise UsageError(f"`port` must be 0 to 65535, not {self.port}")
        if not self.rate >= 0:
            raise UsageError("`rate` must not be negative")
        if not 0.1 <= self.seconds <= 86_400:
            raise UsageError(f"`max_time` must be a second to a day (86400 s), not {self.seconds:g} s")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("`tls_cert` and `tls_key` belong together")
        if not self.token and not is_loopback(self.host):
            raise UsageError(
                f"on {self.host} others can ask, so a token is needed: put one into ${TOKEN_VARIABLE} or into a file "
                "for `token_file`, or listen on 127.0.0.1"
            )
        if self.token and not (len(self.token) >= MIN_TOKEN and self.token.isascii() and self.token.isprintable()):
            raise UsageError(
                f"a token has {MIN_TOKEN} printable ASCII characters at least; this makes one: "
                'python -c "import secrets; print(secrets.token_urlsafe())"'
            )


def read_token(file: Path | None) -> str:
    """Read the token from a file, else from ``$NNS_TOKEN``: arguments are seen by everybody on the machine.

    Raises:
        UsageError: If the file cannot be read, or holds none.
    """
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        token = read_file(file, _TOKEN).decode("ascii").strip()
        mode = file.stat().st_mode
    except UnicodeDecodeError:
        raise UsageError(f"{file} holds no token: it is not ASCII") from None
    except OSError as error:
        raise UsageError(f"cannot read the token in {file}: {error.strerror}") from error
    if not token or any(each.isspace() for each in token):
        raise UsageError(f"{file} must hold one token, and nothing else")
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
        _log.warning("others on this machine can read %s: `chmod 600` it", file)
    return token
