"""The OpenAPI document: msgspec's schemas of what goes over the wire, in the place where FastAPI puts pydantic's."""

from __future__ import annotations

from typing import Any

import msgspec

from nns.serving import documents
from nns.serving.settings import Settings

_TYPES = (documents.Question, documents.Answer, documents.ServedZoo, documents.Health, documents.FailureDocument)

_BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

_REFUSALS = {
    400: "The request is not what this document describes",
    401: "No token, or another",
    403: "A page of another site asks",
    408: "The request took too long to arrive",
    413: "The request is too large",
    415: "The body is of another type",
    421: "Another host is asked for",
    422: "What is asked for cannot be answered; `error.kind` says why: NoNetworkError, where none is within the limits",
    429: "Too many searches of one address; `Retry-After` says when",
    500: "A defect of nns",
    503: "The server is busy, or its zoo damaged",
    504: "The search took too long",
}


def schemas() -> dict[str, Any]:
    """Return the schemas by name."""
    _, found = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    # msgspec says that it is base64; to JSON Schema that is a remark
    found["Packed"]["properties"]["data"]["pattern"] = _BASE64
    return dict(found)


def content(kind: type) -> dict[str, Any]:
    """Return what a body of that type is described by."""
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}


def responses(kind: type, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what an operation answers: a document of that type, or a refusal of one of these statuses."""
    good: dict[int | str, dict[str, Any]] = {200: {"description": "Done", "content": content(kind)}}
    bad: dict[int | str, dict[str, Any]] = {
        each: {"description": _REFUSALS[each], "content": content(documents.FailureDocument)} for each in statuses
    }
    return {**good, **bad}


SEARCHED = (400, 401, 403, 408, 413, 415, 421, 422, 429, 500, 503, 504)

QUESTION = {"required": True, "content": content(documents.Question)}


def uploads(settings: Settings) -> dict[str, Any]:
    """Return how images are sent."""
    images = {
        "type": "array",
        "minItems": 1,
        "maxItems": settings.max_images,
        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
        "description": "Image files, of the formats that nns reads.",
    }
    labels = {
        "type": "array",
        "maxItems": settings.max_images,
        "items": {"type": "string", "minLength": 1, "maxLength": 1000},
        "description": "The class of each image, in the order of the images; none at all where they have none.",
    }
    schema = {
        "type": "object",
        "required": ["images"],
        "properties": {"images": images, "labels": labels},
        "additionalProperties": False,
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
