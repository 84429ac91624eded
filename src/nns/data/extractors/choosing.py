"""Which extractor: features can be compared only with those that the same one made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from nns.data.extractors.efficientnet_lite0 import DEFAULT_EXTRACTOR, EfficientNetLite0Extractor
from nns.data.extractors.resnet18 import RESNET18_EXTRACTOR, ResNet18Extractor
from nns.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nns.types import DatasetRecord


class Extractor(Protocol):
    """A frozen network that turns images into query features.

    Attributes:
        name: What datasets call it; another network or size has another name.
        feature_dim: Numbers an image.
        image_size: Side of its square images in pixels.
    """

    name: str
    feature_dim: int
    image_size: int

    def extract(
        self, images: NDArray[np.uint8], progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """Compute features (n, feature_dim) of images (n, 3, image_size, image_size).

        Raises:
            WeightsError: If the weights cannot be had.
        """


EXTRACTORS: dict[str, Callable[[], Extractor]] = {
    DEFAULT_EXTRACTOR: EfficientNetLite0Extractor,
    RESNET18_EXTRACTOR: ResNet18Extractor,
}
"""Extractors by the name that datasets give them."""


def extractor_of(datasets: Iterable[DatasetRecord]) -> Extractor:
    """Return the extractor that made the features of a zoo's datasets.

    It is the default one if there are no datasets, or if this nns has none of the name that they give. If its features
    are of another width than theirs, the space refuses them.

    Raises:
        UsageError: If they are features of several.
    """
    names = sorted({dataset.extractor for dataset in datasets} & EXTRACTORS.keys()) or [DEFAULT_EXTRACTOR]
    if len(names) > 1:
        raise UsageError(
            f"the datasets of the zoo have features of several extractors ({', '.join(names)}), which cannot be "
            "compared; keep them in zoos of their own"
        )
    return EXTRACTORS[names[0]]()
