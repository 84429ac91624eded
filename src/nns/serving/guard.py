"""What every request passes before anything is done for it: host, token, rate, bytes, time."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from nns.errors import NnsError, ServerError
from nns.serving.addresses import is_loopback

if TYPE_CHECKING:
    from nns.serving.rates import Rates
    from nns.serving.settings import Settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_QUESTION = 8_000_000
"""Bytes of a search by features: a thousand images take 7 million, and numbers as text sixteen times their bytes."""
HELD = 4
"""Largest requests that a process holds at once; who brings more is told to come again."""

OPEN = ("/health", "/openapi.json")
"""Paths for which no token is asked, and which count for no rate."""


class RefusedError(ServerError):
    """A request that is not answered for what it is.

    Attributes:
        status: Of HTTP.
        retry: Seconds after which it may be sent again; None: never.
    """

    def __init__(self, status: int, message: str, retry: float | None = None) -> None:
        """Keep the status."""
        super().__init__(message)
        self.status = status
        self.retry = retry

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says beside its document."""
        found = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return found | ({} if self.retry is None else {"Retry-After": str(math.ceil(self.retry))})


class Guard:
    """Lets requests through to the application, one at a time each."""

    def __init__(
        self, app: Callable[[Scope, Receive, Send], Awaitable[None]], settings: Settings, rates: Rates
    ) -> None:
        """Keep what it guards."""
        self.app = app
        self.settings = settings
        self.rates = rates
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        size = 0
        try:
            size = self._check(scope)
            if self._held + size > HELD * self.settings.max_bytes:
                raise RefusedError(503, "the server is busy; come again", 1.0)
        except RefusedError as error:
            await send_failure(send, error.status, failure_of(error), error.headers)
            return
        self._held += size
        try:
            await self.app(scope, self._bounded(receive, size), send)
        finally:
            self._held -= size

    def _check(self, scope: Scope) -> int:
        """Return how many bytes the body may have: as many as it says, or as any may."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        settings = self.settings
        if not settings.token and not is_loopback(_host(headers.get(b"host", ""))):
            # a page of the web whose name was made to mean 127.0.0.1
            raise RefusedError(421, "this server answers to localhost alone")
        if headers.get(b"sec-fetch-site", "none") in ("cross-site", "same-site"):
            raise RefusedError(403, "pages of other sites may not ask this server")
        if scope["path"] in OPEN:
            return 0
        if settings.token:
            scheme, _, given = headers.get(b"authorization", "").partition(" ")
            # in constant time: how long a comparison takes would tell the token, a character at a time
            right = hmac.compare_digest(given.strip().encode(), settings.token.encode())
            if scheme.casefold() != "bearer" or not right:
                raise RefusedError(401, "this server wants a token: `Authorization: Bearer TOKEN`")
        most = min(settings.max_bytes, MAX_QUESTION) if scope["path"].endswith("/features") else settings.max_bytes
        said = headers.get(b"content-length", "")
        size = int(said) if said.isascii() and said.isdigit() and len(said) < 20 else most + bool(said)
        size = most if b"transfer-encoding" in headers else size
        if size > most:
            raise _too_large(most)
        if scope["method"] == "POST" and (wait := self.rates.wait((scope.get("client") or ("",))[0])):
            raise RefusedError(429, f"more than {settings.rate:g} searches a second of one address", wait)
        return size

    def _bounded(self, receive: Receive, most: int) -> Receive:
        """Return what reads a body no longer than it may be, in no more time than it may take."""
        loop = asyncio.get_running_loop()
        until, left = loop.time() + self.settings.seconds, most
        arrived = False

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal left, arrived
            if arrived:  # what comes now is the end of the connection, whenever that is
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise RefusedError(408, f"the request took longer than {self.settings.seconds:g} s to arrive") from None
            left -= len(message.get("body", b""))
            if left < 0:
                raise _too_large(most)
            arrived = not message.get("more_body", False)
            return message

        return bounded


def _too_large(most: int) -> RefusedError:
    return RefusedError(413, f"a request of more than {most:,} bytes")


def failure_of(error: NnsError, kind: str = "") -> dict[str, Any]:
    """Return the document for an error."""
    known = kind or ("ServerError" if isinstance(error, ServerError) else type(error).__name__)
    return {"error": {"kind": known, "message": str(error)[:4000], "exit_code": error.exit_code}}


async def send_failure(send: Send, status: int, document: Any, more: dict[str, str]) -> None:
    """Send a refusal without the application, which need not even have begun."""
    body = json.dumps(document).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close", **more}
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _host(header: str) -> str:
    """Return the host of a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]
