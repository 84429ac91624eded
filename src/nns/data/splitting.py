"""A dataset decoded at one size, split into training, validation and test: held once, wherever there is room."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.data.blank import what_are_blank
from nns.data.checks import check_trainable
from nns.data.items import Skipped
from nns.data.on_demand import ImagesOnDemand
from nns.data.parallel import Progress, decode_each
from nns.data.pixels import Pixels
from nns.data.room import array_for, move_rows
from nns.data.splits import TEST_SHARE, VAL_SHARE, assign_splits, split_members
from nns.errors import DatasetError
from nns.files import release_pages
from nns.types import LabelledArrays, SplitArrays, SplitName

if TYPE_CHECKING:
    from numpy.typing import NDArray

Decoded = tuple["NDArray[np.uint8]", "NDArray[np.int64]", tuple[Skipped, ...]]
"""Images (n, 3, size, size) uint8; the n indices that were read, int64; and the images that could not be read."""

KEPT_SHARE = 0.04
"""Share of the decoded images that the bytes of their files may take beside them; more are let go."""

KEPT_BYTES = 16 * 2**20
"""Bytes of files that are kept anyway."""

CONTENT_DIGITS = 16
RELEASED_EVERY = 64  # images


@dataclass(frozen=True, repr=False)
class Splitting(Pixels):
    """Pixels that are decoded, a part or all of them."""

    def decode(
        self,
        indices: Sequence[int] | NDArray[np.int64],
        size: int,
        *,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Decoded:
        """Decode some images.

        Args:
            indices: Positions in ``items``.
            size: Side of the decoded square in pixels.
            workers: Threads; None chooses by the bytes to decode, 1 is serial.
            progress: ``progress(done, total)``, called after every few images.

        Returns:
            See :data:`Decoded`; the indices in the order given.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        images = np.empty((len(wanted), 3, size, size), np.uint8)
        kept: list[int] = []
        skipped: list[Skipped] = []
        for index, found in zip(wanted.tolist(), self._decode_each(wanted, size, workers, progress), strict=True):
            if isinstance(found, Skipped):
                skipped.append(found)
            else:
                images[len(kept)] = found
                kept.append(index)
        return images[: len(kept)], np.array(kept, np.int64), tuple(skipped)

    def _decode_each(
        self, indices: NDArray[np.int64], size: int, workers: int | None = None, progress: Progress | None = None
    ) -> Iterator[NDArray[np.uint8] | Skipped]:
        """Decode images one after the other, and note what is wrong with each."""
        items = [self.items[index] for index in indices.tolist()]
        decoded = decode_each(
            [item.source for item in items], size, workers, progress, self._reader.open, lambda: self.rendering
        )
        for index, item, found in zip(indices.tolist(), items, decoded, strict=True):
            self._reasons[index], self._blank[index] = "", ""
            if isinstance(found, str):
                self._reasons[index] = found
                yield Skipped(item.key, found)
            else:
                self._blank[index] = what_are_blank(found[None])[0]
                yield found

    def decode_splits(
        self,
        size: int,
        *,
        seed: int = 0,
        workers: int | None = None,
        val: float = VAL_SHARE,
        test: float = TEST_SHARE,
        progress: Progress | None = None,
    ) -> tuple[SplitArrays, tuple[Skipped, ...]]:
        """Decode all images of a labelled dataset at one size, split into train, val and test.

        Splits that the dataset has are kept. Where it has none, all three are made, by class; where it has
        ``train`` (and ``test``), ``val`` is carved out of ``train``. A dataset with splits but without
        ``test`` has no test split afterwards. How images are placed: :func:`nns.data.splits.assign_splits`.

        The images of all splits are in one array, in memory if that has room, else in a file that is mapped into it
        (:mod:`nns.data.room`). If neither has, they are :class:`nns.data.on_demand.ImagesOnDemand`, and decoded each
        time. Whichever it is, the pixels are the same.

        Args:
            size: Side of the decoded square in pixels.
            seed: Another seed places other images.
            workers: Threads; None chooses by the bytes to decode, 1 is serial.
            val: Share of each class for validation.
            test: Share of each class for the test; 0: no test split.
            progress: ``progress(done, total)``, called after every few images.

        Returns:
            The arrays, each split in the order of ``items``; and the images that could not be read.

        Raises:
            DatasetError: No image can be read, or too few of some class; or the dataset is not labelled.
            UsageError: Shares that leave nothing to train on.
        """
        check_trainable(self)
        everything = np.arange(len(self))
        # where each image belongs if all can be read, so that hardly ever one has to be moved
        row_of = np.empty_like(everything)
        row_of[np.concatenate(list(self._members(everything, (), val, test, seed).values()))] = everything
        images = array_for(len(self), size)
        if self._reader.held > max(KEPT_BYTES, KEPT_SHARE * len(self) * 3 * size * size):
            self._reader.let_go()
        kept: list[int] = []
        skipped: list[Skipped] = []
        for index, found in enumerate(self._decode_each(everything, size, workers, progress)):
            if isinstance(found, Skipped):
                skipped.append(found)
                continue
            kept.append(index)
            if images is not None:
                images[row_of[index]] = found
                if index % RELEASED_EVERY == 0:
                    release_pages(images)
        readable = np.array(kept, np.int64)
        members = self._members(readable, skipped, val, test, seed)
        if images is not None:
            move_rows(images, row_of[readable[np.concatenate(list(members.values()))]])
        parts: dict[SplitName, LabelledArrays] = {}
        start = 0
        for split, where in members.items():
            indices = readable[where]
            stored: Any = ImagesOnDemand(self, indices, size) if images is None else images[start : start + len(where)]
            parts[split] = LabelledArrays(stored, self.labels[indices])
            start += len(where)
        arrays = SplitArrays(self.name, self.classes, parts["train"], parts["val"], parts.get("test"))
        return arrays, tuple(skipped)

    def split_indices(
        self,
        size: int,
        *,
        seed: int = 0,
        val: float = VAL_SHARE,
        test: float = TEST_SHARE,
        unreadable: Collection[str] | None = None,
        progress: Progress | None = None,
    ) -> tuple[dict[SplitName, NDArray[np.int64]], tuple[Skipped, ...]]:
        """Return which images each split of :meth:`decode_splits` has, and the images that could not be read.

        Args:
            size: As for :meth:`decode_splits`, like those that are not named here.
            seed: Another seed places other images.
            val: Share of each class for validation.
            test: Share of each class for the test.
            unreadable: What :meth:`unread_contents` gave then; None: all images are decoded to find out.
            progress: ``progress(done, total)``, while they are.
        """
        check_trainable(self)
        everything = np.arange(len(self))
        if unreadable is None:
            each = self._decode_each(everything, size, progress=progress)
            bad = {index: found for index, found in enumerate(each) if isinstance(found, Skipped)}
        else:
            bad = {
                index: Skipped(self.items[index].key, "it could not be read when the splits were made")
                for index, content in enumerate(self.content_digests)
                if not content or content[:CONTENT_DIGITS] in unreadable
            }
        indices, skipped = np.setdiff1d(everything, list(bad)), tuple(bad.values())
        members = self._members(indices, skipped, val, test, seed)
        return {split: indices[where] for split, where in members.items()}, skipped

    def planned_splits(self, *, seed: int = 0) -> dict[SplitName, NDArray[np.int64]]:
        """Return the images of each split as :meth:`decode_splits` would make them, decoding nothing.

        Where some cannot be read, a few others may change places. Where a class is too small to be split, all that are
        in no other split are in ``train``.
        """
        try:
            return self._members(np.arange(len(self)), (), VAL_SHARE, TEST_SHARE, seed)
        except DatasetError:
            return split_members([item.split or "train" for item in self.items])

    def shorter_side(self, sample: int = 64) -> int:
        """Return the median of the shorter sides of some of its images in pixels; 0 if none can be read."""
        sides = []
        for index in np.linspace(0, len(self) - 1, min(sample, len(self)), dtype=np.int64).tolist():
            with suppress(Exception):  # whatever Pillow raises over a bad file: that is told where all are decoded
                sides.append(min(self._reader.open(self.items[index].source).size))
        return int(np.median(sides)) if sides else 0

    @property
    def unread_contents(self) -> tuple[str, ...]:
        """Beginnings of the digests of the images that could not be decoded, of those that were."""
        found = {self.content_digests[index][:CONTENT_DIGITS] for index, reason in self._reasons.items() if reason}
        return tuple(sorted(found - {""}))

    def _members(
        self, kept: NDArray[np.int64], skipped: Sequence[Skipped], val: float, test: float, seed: int
    ) -> dict[SplitName, NDArray[np.int64]]:
        """Place readable images in splits; positions among them."""
        if not len(kept):
            raise self._nothing_readable(skipped)
        if skipped:
            check_trainable(self, kept.tolist(), skipped)
        placed = assign_splits(
            self.labels[kept].tolist(),
            [self.items[index].split for index in kept],
            [self._content_as_decoded(index) for index in kept],
            val=val,
            test=test,
            seed=seed,
        )
        return split_members(placed)

    def splits_at(
        self, size: int, *, seed: int = 0, progress: Progress | None = None
    ) -> tuple[SplitArrays, tuple[Skipped, ...]]:
        """Return what :meth:`decode_splits` does; each size is decoded once, and kept as long as the dataset."""
        if (size, seed) not in self._decoded:
            self._decoded[size, seed] = self.decode_splits(size, seed=seed, progress=progress)
        return self._decoded[size, seed]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out decoded images: workers share those in a file."""
        return {**vars(self), "_decoded": {}}

    def _nothing_readable(self, skipped: Sequence[Skipped]) -> DatasetError:
        first = f" (first: {skipped[0].path}: {skipped[0].reason})" if skipped else ""
        tried = f"none of the {len(skipped) or len(self)} images tried can be read"
        return DatasetError(f"{self.path!r}: {tried}{first}; run 'nns doctor' on it")
