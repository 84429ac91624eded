"""The web application: what is asked for in a request, given to the search, and its document or a refusal sent back."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from nns.errors import NnsError, UsageError
from nns.quantities import limits_of
from nns.serving import schema
from nns.serving.asking import Upload, Wanted, answer_images, answer_question, read_question
from nns.serving.documents import MAX_CLASSES, MAX_TOP, MAX_TRIES, Answer, Health
from nns.serving.documents import ServedZoo as AboutZoo
from nns.serving.guard import Guard, RefusedError, failure_of
from nns.serving.rates import Rates
from nns.serving.served import ServedZoo
from nns.serving.settings import Settings

_log = logging.getLogger("nns")
T = TypeVar("T")

WAITING = {"features": 64, "images": 4}
"""Searches that wait for their turn in one process, at most: who comes then is told to come again."""

_Quantity = Annotated[str, Field(min_length=1, max_length=40)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]


class Wishes(BaseModel):
    """What may be asked for beside the dataset, as options of ``nns search``."""

    model_config = ConfigDict(extra="forbid")

    max_params: _Quantity | None = Field(None, description="Parameters, e.g. 5M", examples=["5M"])
    max_macs: _Quantity | None = Field(None, description="Multiply-accumulates an image, e.g. 300M")
    max_size: _Quantity | None = Field(None, description="Bytes of the weights, e.g. 20MB")
    backend: _Name | None = Field(None, description="Only networks of this backend")
    license: _Name | None = Field(None, description="Only networks under this licence")
    top: int = Field(10, ge=1, le=MAX_TOP, description="Candidates to list")
    tries: int = Field(3, ge=1, le=MAX_TRIES, description="Networks to choose for being fine-tuned together")
    classes: int | None = Field(
        None, ge=1, le=MAX_CLASSES, description="Classes of the head, if the dataset has more than it shows"
    )

    def wanted(self) -> Wanted:
        """Check them; raises UsageError."""
        limits = limits_of(self.max_params, self.max_macs, self.max_size, None, self.backend, self.license)
        return Wanted(limits, self.top, self.tries, self.classes)


@dataclass(eq=False)
class Turns:
    """One thread a kind of search, so that each is done when it is its turn, and the loop goes on meanwhile.

    Two searches at once would take turns in the interpreter and both end later.
    """

    seconds: float
    waiting: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WAITING, 0))
    pools: dict[str, ThreadPoolExecutor] = field(
        default_factory=lambda: {kind: ThreadPoolExecutor(1, f"nns-{kind}") for kind in WAITING}
    )

    async def take(self, kind: str, search: Callable[[], T]) -> T:
        """Search when it is its turn; raises RefusedError if that takes too long."""
        if self.waiting[kind] > WAITING[kind]:
            raise RefusedError(503, "the server is busy; come again", 1.0)
        self.waiting[kind] += 1
        running = asyncio.get_running_loop().run_in_executor(self.pools[kind], search)
        running.add_done_callback(lambda _: self._done(kind))
        try:
            async with asyncio.timeout(self.seconds):
                return await running
        except TimeoutError:
            raise RefusedError(504, f"the search took longer than {self.seconds:g} s") from None

    def _done(self, kind: str) -> None:
        self.waiting[kind] -= 1


def make_app(settings: Settings, rates: Rates) -> Guard:
    """Make the application of one process: its zoo is read here."""
    served = ServedZoo(settings.zoo, settings.space)
    turns = Turns(settings.seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        served.watch()
        try:
            yield
        finally:
            served.end()

    # no page of documentation: those of FastAPI load their scripts from elsewhere
    app = FastAPI(
        title="nns",
        summary="Which already trained network should I start from, for these images?",
        version=_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # to whatever host the request names
    )
    app.openapi = lambda: _openapi(app, settings)  # type: ignore[method-assign]
    _answer_errors(app)

    @app.get("/health", responses=schema.responses(Health, 403, 421), operation_id="health")
    async def health() -> Response:
        """Whether searches are answered; `current`, whether in the zoo as it is on the disk now."""
        return _document({"ok": True, "current": not served.problem})

    @app.get("/v1/zoo", responses=schema.responses(AboutZoo, 401, 403, 421), operation_id="zoo")
    async def zoo() -> Response:
        """What is served, and which features it takes."""
        ready = served.ready
        return _document(
            {
                "name": settings.zoo.name,
                "digest": ready.digest,
                "networks": len(ready.zoo),
                "space": ready.space.name,
                "extractor": ready.extractor.name,
                "feature_dim": ready.extractor.feature_dim,
                "image_size": ready.extractor.image_size,
                "version": _version(),
            }
        )

    @app.post(
        "/v1/search/features",
        responses=schema.responses(Answer, *schema.SEARCHED),
        openapi_extra={"requestBody": schema.QUESTION},
        operation_id="search_features",
    )
    async def search_features(request: Request, wishes: Annotated[Wishes, Query()]) -> Response:
        """Rank the networks for a dataset by features of its images; the answer is that of `nns search --json`."""
        _expect(request, "application/json")
        body, wanted = await request.body(), wishes.wanted()
        return await turns.take(
            "features", lambda: _document(answer_question(read_question(body), wanted, served.ready))
        )

    @app.post(
        "/v1/search/images",
        responses=schema.responses(Answer, *schema.SEARCHED),
        openapi_extra={"requestBody": schema.uploads(settings)},
        operation_id="search_images",
    )
    async def search_images(request: Request, wishes: Annotated[Wishes, Query()]) -> Response:
        """Rank the networks for images; the answer is that of `nns search --json`."""
        _expect(request, "multipart/form-data")
        wanted = wishes.wanted()
        uploads = await _uploads(request, settings.max_images)
        return await turns.take("images", lambda: _document(answer_images(uploads, wanted, served, settings.seconds)))

    return Guard(app, settings, rates)


def _document(document: Any) -> Response:
    # ASCII, as on the command line: nothing in it can drive a terminal
    return Response(json.dumps(document, allow_nan=False).replace("\x7f", "\\u007f"), media_type="application/json")


def _expect(request: Request, kind: str) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    if given != kind:
        raise RefusedError(415, f"a request of type {given[:100]!r}, not {kind}")


async def _uploads(request: Request, most: int) -> list[Upload]:
    """Read the form; raises RefusedError where it is another."""
    async with request.form(max_files=most, max_fields=most, max_part_size=4096) as form:
        if unknown := set(form) - {"images", "labels"}:
            raise RefusedError(400, f"unknown part {min(unknown)!r:.100}; a form has `images` and `labels`")
        files, labels = form.getlist("images"), form.getlist("labels")
        if not files:
            raise RefusedError(400, "no images")
        if labels and len(labels) != len(files):
            raise UsageError(f"{len(labels)} labels of {len(files)} images: send one for each, or none")
        found = []
        for number, file in enumerate(files):
            label = labels[number] if labels else None
            if not isinstance(file, UploadFile) or isinstance(label, UploadFile):
                raise RefusedError(400, "`images` are files with names, `labels` is text")
            found.append(Upload(file.filename or str(number), await file.read(), label))
        return found


def _answer_errors(app: FastAPI) -> None:
    def refuse(status: int, error: NnsError, kind: str = "") -> Response:
        response = _document(failure_of(error, kind))
        response.status_code = status
        return response

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> Response:
        response = refuse(error.status, error)
        response.headers.update({**error.headers, "Connection": "close"})
        return response

    @app.exception_handler(NnsError)
    async def failed(_: Request, error: NnsError) -> Response:
        if error.exit_code in (2, 3, 5):
            return refuse(422, error)
        # the text names files of this machine
        _log.error("no answer: %s", error)
        return refuse(503, NnsError("the zoo of this server cannot be searched in"), "ZooError")

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        parts = [f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()]
        return refuse(400, UsageError("; ".join(parts)))

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        response = refuse(error.status_code, UsageError(str(error.detail)))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> Response:
        return refuse(500, NnsError("a defect of nns; its log says more"), "NnsError")


def _openapi(app: FastAPI, settings: Settings) -> dict[str, Any]:
    if app.openapi_schema is None:
        from fastapi.openapi.utils import get_openapi

        found = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        components = found.setdefault("components", {})
        components["schemas"] = {**components.get("schemas", {}), **schema.schemas()}
        for name in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(name, None)
        if settings.token:
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            for path in ("/v1/zoo", "/v1/search/features", "/v1/search/images"):
                for operation in found["paths"][path].values():
                    operation["security"] = [{"token": []}]
        app.openapi_schema = msgspec.to_builtins(found)
    return app.openapi_schema


def _version() -> str:
    from importlib.metadata import version

    return version("nns")
