"""The forms in which datasets lie on a disk; each is one file here, or comes with a plugin."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nns.errors import DatasetError, PluginError, UsageError
from nns.plugins import installed_plugins

if TYPE_CHECKING:
    from nns.data.dataset import Dataset
    from nns.plugins import Registry


class Format(ABC):
    """Something that DATA may be.

    Attributes:
        example: What a person gives, after "give": ``"a folder"``, ``"torchvision:NAME"``.
        is_path: Whether DATA is a path, which means another place in another folder; False for a name.
    """

    example: str
    is_path = True

    @abstractmethod
    def can_open(self, data: str) -> bool:
        """Return whether DATA is of this format, by its name and what lies there; reads no image.

        What plugins bring is asked before the built-in formats, so one of them may have a kind of folder for itself.
        """

    def connects(self, data: str) -> bool:
        """Return whether opening DATA would make a connection; if so, no file may name it, only a person."""
        return False

    @abstractmethod
    def open(self, data: str) -> Dataset:
        """Open DATA that is of this format, without decoding an image.

        Paths in it are absolute: other processes, with working folders of their own, read them.

        Raises:
            DatasetError: It holds no images, or is damaged. The message ends in ``; `` and the next step.
        """


def open_data(data: str, registry: Registry | None = None) -> Dataset:
    """Open DATA by the first format that can.

    Args:
        data: DATA.
        registry: Where the formats are; None, or one without formats: the installed plugins.

    Raises:
        DatasetError: None can.
    """
    if (able := _able(data, registry)) is not None:
        return able.open(data)
    examples = [known.example for known in _formats(registry)]
    if data and os.path.exists(os.path.expanduser(data)):
        raise DatasetError(f"{data!r} is neither {' nor '.join(examples)}; give the folder that holds the images")
    if data.lower().startswith("file://"):
        raise DatasetError(f"no dataset at {data!r}; give the path alone, without file://")
    raise DatasetError(f"no dataset at {data!r}; give {', '.join(examples[:-1])} or {examples[-1]}")


def refuse_connections(data: Iterable[str], where: str, registry: Registry | None = None) -> None:
    """Refuse datasets that a file names and that are not on this disk: a file never makes nns connect.

    Args:
        data: DATA, each as the file says it.
        where: What names them, for the message.
        registry: As for :func:`open_data`.

    Raises:
        UsageError: If one would be fetched.
    """
    for each in data:
        if (able := _able(each, registry)) is not None and able.connects(each):
            raise UsageError(
                f"{where} names {each!r:.80}, which is not on this disk, and a file never makes nns connect; "
                f"fetch it first: `nns doctor {each:.80}`"
            )


def can_open(data: str, registry: Registry | None = None) -> bool:
    """Return whether DATA is of any format, so that it is no mere name of something else."""
    return _able(data, registry) is not None


def is_path(data: str, registry: Registry | None = None) -> bool:
    """Return whether DATA is a path, there or not, and no name such as ``torchvision:MNIST``."""
    able = _able(data, registry)
    return able is None or able.is_path


def _able(data: str, registry: Registry | None) -> Format | None:
    # the built-ins registered first, and to them any folder is a folder of images
    return next((known for known in reversed(_formats(registry)) if known.can_open(data)), None)


def _formats(registry: Registry | None) -> list[Format]:
    """Make all formats, in the order in which they were registered."""
    if registry is None or not registry.names("format"):
        registry = installed_plugins()
    formats = [make_format(name, registry) for name in registry.factories.get("format", ())]
    if not formats:
        raise PluginError("no data format is registered: nns is installed without its entry points; install it again")
    return formats


def make_format(name: str, registry: Registry) -> Format:
    """Make the format of that name.

    Raises:
        UnknownNameError: If no plugin registered it.
        PluginError: If its factory fails or gives something else.
    """
    made = registry.make("format", name)
    if not isinstance(made, Format):
        raise PluginError(f"format {name!r} is a {type(made).__name__}, not an nns.data.formats.Format")
    return made
