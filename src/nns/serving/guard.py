"""What every request passes before anything is done for it: host, token, rate, bytes, time."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
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
DRAINING = 5.0
"""Seconds in which the rest of a request that is refused is received, so that the refusal is."""
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
        body = _Body(receive, self.settings)
        try:
            body.most = size = self._check(scope)
            if self._held + size > HELD * self.settings.max_bytes:
                raise RefusedError(503, "the server is busy; come again", 1.0)
        except RefusedError as error:
            await body.drain(scope)
            await send_failure(send, error.status, failure_of(error), error.headers)
            return

        async def send_drained(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                await body.drain(scope)
            await send(message)

        self._held += size
        try:
            await self.app(scope, body.receive, send_drained)
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


class _Body:
    """The body of a request: no longer than it may be, in no more time than it may take."""

    def __init__(self, receive: Receive, settings: Settings) -> None:
        self._receive = receive
        self._seconds = settings.seconds
        self._until = asyncio.get_running_loop().time() + settings.seconds
        self._discarded = HELD * settings.max_bytes
        self._arrived = False
        self._came = 0
        self.most = 0

    async def receive(self) -> MutableMapping[str, Any]:
        """Receive a part; raises RefusedError."""
        if self._arrived:  # what comes now is the end of the connection, whenever that is
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            self._discarded = 0
            raise RefusedError(408, f"the request took longer than {self._seconds:g} s to arrive") from None
        self._arrived = message["type"] != "http.request" or not message.get("more_body", False)
        self._came += len(message.get("body", b""))
        if self._came > self.most:
            raise _too_large(self.most)
        return message

    async def drain(self, scope: Scope) -> None:
        """Receive what nobody wants, as far as that is not too much.

        A connection that is closed on who still sends is reset, often before the answer was read.
        """
        if self._came == 0 and any(name == b"expect" for name, _ in scope["headers"]):
            return  # who asks before he sends reads the answer
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAINING):
                while not self._arrived and self._discarded > 0:
                    message = await self._receive()
                    self._discarded -= len(message.get("body", b""))
                    self._arrived = message["type"] != "http.request" or not message.get("more_body", False)


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
