"""Images that are decoded whenever they are asked for, since neither memory nor disk has room for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nns.errors import DatasetError

if TYPE_CHECKING:
    from nns.data.splitting import Splitting


class ImagesOnDemand:
    """Stands for an array (n, 3, size, size) uint8, of which one asks for some images at a time.

    Attributes:
        shape: Of that array.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, dataset: Splitting, indices: NDArray[np.int64], size: int) -> None:
        """Note which images of a dataset it is of: all could be read once."""
        self._dataset, self._indices, self._size = dataset, indices, size
        self.shape = (len(indices), 3, size, size)

    @property
    def nbytes(self) -> int:
        """Bytes of all images, were they decoded."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        """Count the images."""
        return len(self._indices)

    def __getitem__(self, which: Any) -> NDArray[np.uint8]:
        """Decode some images: a slice, or an array of positions.

        Raises:
            DatasetError: An image cannot be read any more.
        """
        chosen = self._indices[which if isinstance(which, slice) else np.asarray(which)]
        images, _, skipped = self._dataset.decode(chosen, self._size)
        if skipped:
            raise DatasetError(f"{skipped[0].path!r} could be read before, and cannot now: {skipped[0].reason}")
        return images

    def in_parts(self, parts: Iterable[Any]) -> Iterator[NDArray[np.uint8]]:
        """Decode parts of the images one after the other, each while the one before is used.

        Args:
            parts: What :meth:`__getitem__` takes.
        """
        with ThreadPoolExecutor(1) as ahead:
            waiting: Future[NDArray[np.uint8]] | None = None
            for part in parts:
                begun = ahead.submit(self.__getitem__, part)
                if waiting is not None:
                    yield waiting.result()
                waiting = begun
            if waiting is not None:
                yield waiting.result()
