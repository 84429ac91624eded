"""What columns lack of networks: read of their descriptions a block at a time, without an entry for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec


class Spec(msgspec.Struct, gc=False):
    """What is read of an architecture."""

    backend: str
    name: str
    source: str


class Cost(msgspec.Struct, gc=False):
    """What is read of its counts."""

    body_params: int
    body_macs: int


class Origin(msgspec.Struct, gc=False):
    """What is read of a provenance; of another type it is somebody else's word, and does not count."""

    images_seen_: Any = msgspec.field(name="images_seen", default=None)
    teachers: Any = msgspec.UNSET

    @property
    def images_seen(self) -> int | None:
        """Images that it was trained on."""
        return self.images_seen_ if type(self.images_seen_) is int else None

    @property
    def extra(self) -> dict[str, Any]:
        """What else its provenance says, as far as it is read."""
        return {} if self.teachers is msgspec.UNSET else {"teachers": self.teachers}


class Description(msgspec.Struct, gc=False):
    """A network as its description says, with the names of :class:`nns.types.NetworkEntry`.

    An entry is checked field by field, takes 5 KB and 40 µs; ten of these are made in the time of one.
    """

    id: str
    spec: Spec
    cost: Cost
    source_dataset: str
    source_digest: str
    license: str
    provenance: Origin
    accuracy_: float | None = msgspec.field(name="accuracy", default=None)
    published: dict[str, float] = {}

    @property
    def accuracy(self) -> float:
        """Accuracy on its own dataset; NaN if unknown."""
        return math.nan if self.accuracy_ is None else self.accuracy_


_DECODER = msgspec.json.Decoder(Description)


def parse_descriptions(lines: bytes) -> Sequence[Description]:
    """Parse JSON lines.

    Raises:
        ValueError: If one is no description.
    """
    try:
        return _DECODER.decode_lines(lines)
    except RecursionError as error:
        raise ValueError("too many levels") from error
