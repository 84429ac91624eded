"""Which extractor: features can be compared only with those that the same one made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from nns.data.extractors.efficientnet_lite0 import DEFAULT_EXTRACTOR
from nns.errors import PluginError, UsageError
from nns.plugins import installed_plugins

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nns.plugins import Registry
    from nns.types import DatasetRecord


@runtime_checkable
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


def make_extractor(name: str = DEFAULT_EXTRACTOR, registry: Registry | None = None) -> Extractor:
    """Make the extractor of that name.

    Args:
        name: The name that datasets give it.
        registry: Where the extractors are; None, or one without extractors: the installed plugins.

    Raises:
        UnknownNameError: If no plugin registered it.
        PluginError: If its factory fails, or gives something else.
    """
    made = _holder(registry).make("extractor", name)
    if not isinstance(made, Extractor):
        raise PluginError(f"extractor {name!r} is a {type(made).__name__}, not an nns.data.extractors.Extractor")
    if made.name != name:
        raise PluginError(f"the extractor registered as {name!r} calls itself {made.name!r}; zoos store its name")
    return made


def extractor_of(datasets: Iterable[DatasetRecord], registry: Registry | None = None) -> Extractor:
    """Return the extractor that made the features of a zoo's datasets.

    It is the default one if there are no datasets, or if no plugin has one of the name that they give. If its features
    are of another width than theirs, the space refuses them.

    Args:
        datasets: What the zoo holds.
        registry: As for :func:`make_extractor`.

    Raises:
        UsageError: If they are features of several.
    """
    known = set(_holder(registry).names("extractor"))
    names = sorted({dataset.extractor for dataset in datasets} & known) or [DEFAULT_EXTRACTOR]
    if len(names) > 1:
        raise UsageError(
            f"the datasets of the zoo have features of several extractors ({', '.join(names)}), which cannot be "
            "compared; keep them in zoos of their own"
        )
    return make_extractor(names[0], registry)


def _holder(registry: Registry | None) -> Registry:
    return registry if registry is not None and registry.names("extractor") else installed_plugins()
