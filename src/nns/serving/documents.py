"""What goes over the wire, the same for both ends: checked on arrival, and the schemas of the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from nns.documents import Count

MAX_ROWS = 1000
"""Images of a search by features, at most; a search looks at 200."""
MAX_WIDTH = 16_384
"""Features of an image, at most."""
MAX_CLASSES = 100_000
MAX_TOP = 1000
MAX_TRIES = 20
LARGEST = 1e6
"""Features of larger size are refused: their squares add up to what float32 does not hold."""

Text = Annotated[str, Meta(max_length=4096)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Share = Annotated[float, Meta(ge=0, le=1)]
Interval = tuple[float, float]


class Packed(Struct, forbid_unknown_fields=True):
    """Features as base64 of little-endian numbers, row by row.

    Attributes:
        shape: Images, and features of each.
        data: The numbers; of float16 it is half as long, and ranks are the same but for near equals.
        dtype: What they are.
    """

    shape: tuple[
        Annotated[int, Meta(ge=1, le=MAX_ROWS)],
        Annotated[int, Meta(ge=1, le=MAX_WIDTH)],
    ]
    data: bytes
    dtype: Literal["float32", "float16"] = "float32"


Row = Annotated[list[float], Meta(min_length=1, max_length=MAX_WIDTH)]


class Question(Struct, forbid_unknown_fields=True):
    """A dataset by its features.

    Attributes:
        features: One row an image.
        extractor: Name of the extractor that made them; that of the zoo is in ``GET /v1/zoo``.
        labels: Class of each image, from 0; left out where unlabelled.
        classes: Classes of the head that limits count; where left out, as many as labels name.
        images: Images of the dataset that these stand for; where left out, as many as there are rows.
        digest: Content digest of the dataset: if the zoo has it, it is not found to be like itself.
    """

    features: Packed | Annotated[list[Row], Meta(min_length=1, max_length=MAX_ROWS)]
    extractor: Annotated[str, Meta(min_length=1, max_length=200)]
    labels: Annotated[list[Annotated[int, Meta(ge=0, lt=MAX_CLASSES)]], Meta(max_length=MAX_ROWS)] | None = None
    classes: Annotated[int, Meta(ge=1, le=MAX_CLASSES)] | None = None
    images: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    digest: Digest | None = None


class SkippedImage(Struct):
    """An image that could not be read, and why."""

    path: Text
    reason: Text


class AnsweredDataset(Struct):
    """What was searched with."""

    path: Text
    classes: Annotated[int, Meta(ge=1, le=MAX_CLASSES)] | None
    images: Count
    skipped: Annotated[list[SkippedImage], Meta(max_length=MAX_ROWS)]
    digest: Text


class AnsweredZoo(Struct):
    """What was searched in."""

    path: Text
    digest: Text
    networks: Count


class AnsweredLimits(Struct):
    """The limits that held; whoever asks may have named any number."""

    max_params: float | None
    max_macs: float | None
    max_size: float | None
    max_latency_ms: float | None
    backend: Text | None
    license: Text | None


class AnsweredWeights(Struct):
    """Where the weights of a network are, as the server sees it."""

    where: Text
    bytes: Count | None
    on_disk: bool


class AnsweredCandidate(Struct):
    """A network that meets the limits."""

    rank: Annotated[int, Meta(ge=1, le=2**62)]
    id: Annotated[str, Meta(pattern="^[A-Za-z0-9._-]{1,64}$")]
    backend: Text
    architecture: Text
    source_dataset: Text
    params: Count
    macs: Count
    bytes: Count
    latency_ms: float | None
    score: float
    similarity: float
    prior: float
    predicted_accuracy: Share
    interval: Interval | None
    terms: Annotated[dict[Text, float], Meta(max_length=50)]
    probe: float | None
    license: Text
    weights: AnsweredWeights | None
    needs: Text | None


class AnsweredGain(Struct):
    """What the first candidate is expected to be ahead of the static choice by, in points."""

    points: float
    interval: Interval | None


class AnsweredNeighbour(Struct):
    """A dataset of the zoo that is like the query."""

    dataset: Text
    distance: float
    winner: Text | None
    accuracy: float | None


class AnsweredSeconds(Struct):
    """Where the server's time went."""

    features: float
    score: float
    probe: float
    total: float


class Answer(Struct):
    """The document of ``nns search --json``."""

    dataset: AnsweredDataset
    zoo: AnsweredZoo
    space: Text
    limits: AnsweredLimits
    feasible: Count
    unscored: Count
    candidates: Annotated[list[AnsweredCandidate], Meta(min_length=1, max_length=MAX_TOP)]
    static_choice: AnsweredCandidate
    together: Annotated[list[Text], Meta(min_length=1, max_length=MAX_TRIES)]
    expected_gain: AnsweredGain
    neighbours: Annotated[list[AnsweredNeighbour], Meta(max_length=10)]
    far: bool
    seconds: AnsweredSeconds


class ServedZoo(Struct):
    """What a client needs to know of a zoo before it asks.

    Attributes:
        name: File name of the zoo.
        digest: Content digest.
        networks: Networks in it.
        space: What ranks them.
        extractor: Name of the extractor whose features it takes.
        feature_dim: Numbers an image.
        image_size: Side of the square images that the extractor sees, in pixels.
        version: Version of nns.
    """

    name: Text
    digest: Text
    networks: Count
    space: Text
    extractor: Annotated[str, Meta(min_length=1, max_length=200)]
    feature_dim: Annotated[int, Meta(ge=1, le=MAX_WIDTH)]
    image_size: Annotated[int, Meta(ge=8, le=1024)]
    version: Text


class Health(Struct):
    """Whether searches are answered, and whether in the zoo as it is on the disk now."""

    ok: bool
    current: bool


class Failure(Struct):
    """Why there is no answer.

    Attributes:
        kind: What it is called in :mod:`nns.errors`.
        message: What is wrong and what to do.
        exit_code: What ``nns`` ends with.
    """

    kind: Text
    message: Text
    exit_code: Annotated[int, Meta(ge=0, le=255)]


class FailureDocument(Struct):
    """What comes with every status from 400 on."""

    error: Failure
