"""Requests to a server of searches. What it answers is untrusted: bounded, checked, and never followed elsewhere."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import IO, Any, TypeVar
from urllib.parse import urlencode

import msgspec

from nns.errors import DatasetError, NnsError, NoNetworkError, ServerError, UnknownNameError, UsageError
from nns.serving.addresses import is_loopback, server_address
from nns.serving.documents import Answer, FailureDocument, ServedZoo

T = TypeVar("T")

MAX_ANSWER = 8 << 20
"""Bytes of an answer, at most: of a thousand candidates it has some 800,000."""
MAX_SECONDS = 120.0
"""Time for a whole answer."""
SILENT_SECONDS = 60.0
"""Time without a byte."""

_KINDS: dict[str, type[NnsError]] = {
    each.__name__: each for each in (UsageError, UnknownNameError, DatasetError, NoNetworkError)
}
"""Errors that are the asker's, and end the command as if the zoo were here."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the token and the images are for this server."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


@dataclass(frozen=True)
class Server:
    """A server of searches.

    Attributes:
        url: Its address.
        token: What it wants to know; empty: nothing.
    """

    url: str
    token: str = ""

    def __post_init__(self) -> None:
        """Check the address; raises UsageError."""
        server_address(self.url)

    @property
    def host(self) -> str:
        """Its name, for messages."""
        return server_address(self.url).hostname or ""

    @property
    def is_exposed(self) -> bool:
        """Whether others on the way can read and change what is sent and answered."""
        return server_address(self.url).scheme == "http" and not is_loopback(self.host)

    def zoo(self) -> ServedZoo:
        """Ask what it serves; raises ServerError."""
        return self._ask("/v1/zoo", ServedZoo)

    def search(self, kind: str, wishes: dict[str, Any], body: bytes, content_type: str) -> Answer:
        """Ask for a search.

        Args:
            kind: ``"features"`` or ``"images"``.
            wishes: What is asked for beside the dataset; what is None is left out.
            body: The dataset.
            content_type: What that is.

        Raises:
            ServerError: If there is no answer, or none that can be believed.
            NoNetworkError: If no network meets the limits, and so with other errors of a search.
        """
        query = urlencode({name: value for name, value in wishes.items() if value is not None})
        return self._ask(f"/v1/search/{kind}?{query}", Answer, body, content_type)

    def _ask(self, path: str, kind: type[T], body: bytes | None = None, content_type: str = "") -> T:
        request = urllib.request.Request(self.url.rstrip("/") + path, data=body)
        request.add_header("Accept", "application/json")
        if content_type:
            request.add_header("Content-Type", content_type)
        if self.token:
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if is_loopback(self.host):
            handlers.append(urllib.request.ProxyHandler({}))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=SILENT_SECONDS) as response:
                return self._decoded(self._read(response), kind)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from None
        except urllib.error.URLError as error:
            raise ServerError(f"{self.host} cannot be asked: {_clean(_why(error.reason))}") from error
        except ServerError:  # an OSError, too
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ServerError(f"{self.host} gave no answer: {_clean(_why(error))}") from error

    def _read(self, response: IO[bytes]) -> bytes:
        until, parts, size = time.monotonic() + MAX_SECONDS, [], 0
        while part := response.read(1 << 16):
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER:
                raise ServerError(f"{self.host} answers more than {MAX_ANSWER >> 20} MiB, which is no answer")
            if time.monotonic() > until:
                raise ServerError(f"{self.host} takes longer than {MAX_SECONDS:g} s to answer")
        return b"".join(parts)

    def _decoded(self, content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise ServerError(f"{self.host} answers what is no answer of nns: {_clean(str(error))}") from error

    def _refusal(self, error: urllib.error.HTTPError) -> NnsError:
        """Return what a refusal says, as the error that it is."""
        if 300 <= error.code < 400:
            return ServerError(
                f"{self.host} points elsewhere, where nothing is sent; give that address if you trust it"
            )
        try:
            failure = msgspec.json.decode(self._read(error), type=FailureDocument).error
        except (ServerError, OSError, http.client.HTTPException, msgspec.DecodeError, ValueError, RecursionError):
            return ServerError(f"{self.host} answers with status {error.code}, and is no server of nns")
        message = _clean(failure.message)
        if error.code == 422 and failure.kind in _KINDS:
            return _KINDS[failure.kind](message)
        hint = "; put it into $NNS_TOKEN or into a file for `token_file`" if error.code == 401 else ""
        return ServerError(f"{self.host}: {message}{hint}")


def multipart(images: list[bytes], labels: list[str]) -> tuple[bytes, str]:
    """Write a form of images; return it with its content type."""
    import secrets

    boundary = secrets.token_hex(16)
    parts = []
    for number, image in enumerate(images):
        head = f'form-data; name="images"; filename="{number}.png"\r\nContent-Type: image/png'
        parts.append(f"--{boundary}\r\nContent-Disposition: {head}\r\n\r\n".encode() + image + b"\r\n")
    for label in labels:
        head = 'form-data; name="labels"'
        parts.append(f"--{boundary}\r\nContent-Disposition: {head}\r\n\r\n{label}\r\n".encode())
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def as_json(document: Any) -> bytes:
    """Write a request."""
    return json.dumps(document).encode()


def _why(error: object) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _clean(text: str) -> str:
    """Leave nothing that could drive a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)[:1000]
