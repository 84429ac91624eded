"""Images that are in the hands of the caller already: lists, arrays, torch datasets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nns.data.depth import kind_of
from nns.data.integrity import DamagedError, check_rows, check_whole, png_content
from nns.data.items import UNLABELLED, ImageItem, ImageSource
from nns.data.listening import listening
from nns.data.names import clean_name
from nns.data.opening import open_bytes
from nns.data.reading import read_file
from nns.errors import DatasetError
from nns.quantities import counted

_LABEL_ATTRIBUTES = ("targets", "labels", "_labels", "y")
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True, eq=False)
class GivenImage:
    """An image as it was given: of Pillow, an array or a tensor."""

    image: Any

    def open(self) -> Image.Image:
        """Return the image; raises TypeError or ValueError if it is none."""
        return to_image(self.image)


@dataclass(frozen=True, eq=False)
class CollectionImage:
    """Image number ``index`` of a torch dataset, which is asked for it each time."""

    collection: Any
    index: int

    def open(self) -> Image.Image:
        """Return the image; raises TypeError or ValueError if it is none, or not a whole one."""
        source, index = _within(self.collection, self.index)
        content = b""
        if (path := _file_of(source, index)) is not None:
            opened = open_bytes(read_file(path)[0])
            check_whole(opened)
            content = png_content(opened)
            if kind_of(opened) and not getattr(source, "transform", None):
                return opened  # torchvision cuts values off at 255
        found = self.collection[self.index]
        image = to_image(found[0] if isinstance(found, tuple | list) else found)
        check_rows(image, content)
        return image


def given_items(data: Any) -> tuple[str, str, tuple[str, ...], tuple[ImageItem, ...]]:
    """Turn what :meth:`nns.data.Dataset.of` takes, unless it is opened by a name, into images and classes.

    Labels may be names or numbers. Classes that have names are sorted by them, unless a torch dataset lists its own;
    classes that have numbers are in the order of these.

    Returns:
        Name, what to call it in messages, class names, and items.

    Raises:
        DatasetError: It is nothing of the kind, or holds no images.
    """
    names: Sequence[Any] = ()
    name = "images"
    images: list[ImageSource]
    if isinstance(data, tuple) and len(data) == 2:
        if not all(hasattr(part, "__iter__") for part in data):
            raise DatasetError(f"a tuple of {_types(data)} is no dataset; give a tuple (images, labels)")
        images, labels = [_source(image) for image in data[0]], list(data[1])
    elif isinstance(data, list):
        pairs = [each if isinstance(each, tuple) and len(each) == 2 else (each, None) for each in data]
        images, labels = [_source(image) for image, _ in pairs], [label for _, label in pairs]
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, dict):
        images = [CollectionImage(data, index) for index in range(len(data))]
        labels, names, name = list(labels_of(data)), named_classes(data), type(data).__name__
    else:
        raise DatasetError(f"a {type(data).__name__} is no dataset; give a path, a list of (image, label) {_OR}")
    if not images:
        raise DatasetError(f"no images were given; give a path, a list of (image, label) {_OR}")
    if len(labels) != len(images):
        raise DatasetError(f"{len(images)} images were given with {len(labels)} labels; give one label an image")
    _check_first(images[0])
    classes, indices = _classes([_plain(label) for label in labels], names)
    items = (
        ImageItem(image, label, None, clean_name(str(image)) if isinstance(image, Path) else str(number))
        for number, (image, label) in enumerate(zip(images, indices, strict=True))
    )
    return name, counted(len(images), "image"), classes, tuple(items)


_OR = "or a tuple (images, labels)"


def _source(image: Any) -> ImageSource:
    if isinstance(image, str | os.PathLike):
        return Path(os.path.abspath(os.path.expanduser(image)))
    return GivenImage(image)


def _check_first(image: ImageSource) -> None:
    """Refuse what cannot be images at all, before thousands are counted as unreadable."""
    if isinstance(image, Path):
        return
    try:
        with listening():
            image.open()
    except (OSError, DamagedError):  # an image, but not a whole one: unreadable like any other
        return
    except Exception as error:
        raise DatasetError(f"the first of the images cannot be used: {error}; see docs/datasets.md") from error


def _types(values: Iterable[Any]) -> str:
    return " and ".join(type(value).__name__ for value in values)


def _plain(label: Any) -> Any:
    """Take a label out of an array or a tensor."""
    try:
        return label.item() if hasattr(label, "item") else label
    except (ValueError, RuntimeError):  # one-hot
        shape = tuple(getattr(label, "shape", ()))
        raise DatasetError(f"a label of shape {shape} is not one class; give the number of it, not one-hot") from None


def _number(label: Any) -> int:
    """Return a label of a torch dataset as a number; raises ValueError or TypeError if that is not what it says."""
    plain = label.item() if hasattr(label, "item") else label
    number = int(plain)
    if (str(number) if isinstance(plain, str) else number) != plain:
        raise ValueError(label)  # 0.2 is not class 0, and "01" is not "1"
    return number


def _classes(labels: list[Any], names: Sequence[Any]) -> tuple[tuple[str, ...], list[int]]:
    """Return the class names, and the class index of each label."""
    if all(label is None for label in labels):
        return (), [UNLABELLED] * len(labels)
    if all(isinstance(label, str) for label in labels):
        if not all(map(str.strip, labels)):
            raise DatasetError("a label is empty; give every image a name or a number, or none any")
        cleaned = [clean_name(label) for label in labels]
        classes = tuple(sorted(set(cleaned)))
        return classes, [classes.index(label) for label in cleaned]
    if all(isinstance(label, int) for label in labels) and len({isinstance(label, bool) for label in labels}) == 1:
        found = sorted(set(labels))
        position = {label: index for index, label in enumerate(found)}
        return tuple(class_names(names, found).values()), [position[label] for label in labels]
    odd = next(label for label in labels if type(label) is not type(labels[0]) or not isinstance(label, str | int))
    beside = f"{odd!r} is no label" + (f" beside {labels[0]!r}" if type(odd) is not type(labels[0]) else "")
    raise DatasetError(f"{beside}; give every image a name or a whole number, or none any")


def labels_of(collection: Any) -> Sequence[Any]:
    """Return the label of every image of a torch dataset, from an attribute where there is one, else by reading all.

    Raises:
        DatasetError: It does not give one class an image.
    """
    for attribute in _LABEL_ATTRIBUTES:
        values = getattr(collection, attribute, None)
        if values is not None and len(values) == len(collection):
            try:
                return [_number(value) for value in values]
            except (TypeError, ValueError, RuntimeError):  # QMNIST: eight numbers an image
                continue
    try:
        with listening():  # it decodes its images for that
            return [_number(collection[index][1]) for index in range(len(collection))]
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise DatasetError(f"{type(collection).__name__} does not give one class an image; take another") from error


def named_classes(collection: Any) -> Sequence[Any]:
    """Return the class names that a torch dataset lists, by label; often none."""
    given = getattr(collection, "classes", None) or getattr(collection, "categories", None) or ()
    return given if isinstance(given, Sequence) else ()


def class_names(given: Sequence[Any], found: Iterable[int]) -> dict[int, str]:
    """Name every label: by the dataset's own names, else by its number; a repeated name gets its number."""
    names: dict[int, str] = {}
    for label in found:
        own = given[label] if 0 <= label < len(given) else str(label)
        text = clean_name(own if isinstance(own, str) else ", ".join(map(str, own)))
        names[label] = f"{text} ({label})" if text in names.values() else text
    return names


def _within(collection: Any, index: int) -> tuple[Any, int]:
    """Return where an image of a subset of a torch dataset is in the whole."""
    if hasattr(collection, "dataset") and hasattr(collection, "indices"):
        return _within(collection.dataset, collection.indices[index])
    return collection, index


def _file_of(collection: Any, index: int) -> Path | None:
    """Return the file of an image of a torch dataset that lists its files, as torchvision's ``ImageFolder`` does."""
    samples = getattr(collection, "samples", None)
    sample = samples[index] if isinstance(samples, list) and len(samples) == len(collection) else None
    path = sample[0] if isinstance(sample, tuple) and sample else None
    return Path(path) if isinstance(path, str) and os.path.isfile(path) else None


def to_image(image: Any) -> Image.Image:
    """Make a Pillow image of an array or a tensor; a copy of one that is an image already.

    Args:
        image: (h, w), (h, w, c) or (c, h, w) of 1, 3 or 4 channels: integers of 0..255 or floats of 0..1. Tensors
            have their channels first, and so are those read that fit both ways.

    Raises:
        TypeError: It is something else.
        ValueError: Its shape or its numbers are others.
    """
    if isinstance(image, Image.Image):
        content = _undecoded(image)
        if content is not None:
            opened = open_bytes(content)
            check_whole(opened)
            # of a deep one the file says more than the pixels that Pillow makes
            if kind_of(opened):
                return opened
            png = png_content(opened)
            copy: Image.Image = opened.copy()
            check_rows(copy, png)
            return copy
        copy = image.copy()
        return copy  # some collections hand out the same object again; the caller may close his
    is_tensor = hasattr(image, "detach")
    pixels = np.asarray(image.detach().cpu() if is_tensor else image)
    if pixels.dtype == object or pixels.dtype.kind not in "buif":
        raise TypeError(f"a {type(image).__name__} is not an image")
    first, last = pixels.ndim == 3 and pixels.shape[0] in _CHANNELS, pixels.ndim == 3 and pixels.shape[2] in _CHANNELS
    if first and (is_tensor or not last):
        pixels = pixels.transpose(1, 2, 0)
    elif not (last or pixels.ndim == 2):
        raise ValueError(f"an array of shape {pixels.shape} is not an image of 1, 3 or 4 channels")
    pixels = _eight_bits(pixels)
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))


def _undecoded(image: Image.Image) -> bytes | None:
    """Return the file of an image that was opened and not decoded yet: it is then checked like any other."""
    stream: Any = getattr(image, "fp", None)
    if stream is None or not getattr(image, "tile", None) or image.tell():
        return None
    try:
        at = stream.tell()
        stream.seek(0)
        content: bytes = stream.read()
        stream.seek(at)
    except (OSError, ValueError, AttributeError):
        return None
    return content


def _eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    top = 1.0 if pixels.dtype.kind in "bf" else 255.0
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= top):
        raise ValueError(
            f"pixels of {pixels.min():.3g} to {pixels.max():.3g} are neither integers of 0..255 nor floats of 0..1 "
            "(images must not be normalised)"
        )
    return np.rint(pixels * (255.0 / top)).astype(np.uint8)
