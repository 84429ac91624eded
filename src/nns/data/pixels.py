"""What the pixels of a dataset say: how its deep and transparent images are rendered, and whether any can be seen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from threading import RLock

from nns.data.blank import WORTH_SAYING
from nns.data.contents import Contents
from nns.data.decoding import ImageFacts, choose_rendering, examine
from nns.data.parallel import Progress, map_sources
from nns.data.rendering import Rendering
from nns.data.report import first_few
from nns.data.seen import Seen

_choosing = RLock()
_log = logging.getLogger("nns")


@dataclass(frozen=True, repr=False)
class Pixels(Contents):
    """The contents of a dataset, and what is known of its pixels."""

    @property
    def rendering(self) -> Rendering:
        """How its deep and transparent images become 8 bits of RGB, chosen when it is first asked for.

        The images that decide are those of the training split, in the order of their content: the same wherever they
        lie and whatever they are called.
        """
        with _choosing:  # several threads decode, and all need the same
            if not self._renderings:
                contents = zip(self.items, self.content_digests, strict=True)
                keys = [(item.split not in (None, "train"), content) for item, content in contents]
                ordered = [self.items[index].source for index in sorted(range(len(self)), key=keys.__getitem__)]
                self._renderings.append(choose_rendering(ordered, self._reader.open))
            return self._renderings[0]

    def render_as(self, rendering: Rendering) -> None:
        """Render its images as those of another dataset were: what a network was trained on decides."""
        with _choosing:
            self._renderings[:] = [rendering]

    @property
    def used_rendering(self) -> Rendering | None:
        """The rendering if any image that was decoded needed one."""
        return self._renderings[0] if self._renderings else None

    def examine(self, *, workers: int | None = None, progress: Progress | None = None) -> list[ImageFacts | str]:
        """Return what each image is, or why it cannot be read."""
        sources = [item.source for item in self.items]
        return list(
            map_sources(
                partial(examine, opener=self._reader.open, rendered=lambda: self.rendering), sources, workers, progress
            )
        )

    def tell_odd_pixels(self, tell: Callable[[str], None] | None = None) -> None:
        """Tell what was not told before; ``tell`` is the log unless given."""
        for lack, text in self._odd_pixels().items():
            if lack not in self._told:
                (tell or _log.warning)(f"warning: {text}" if tell else text)
            self._told.add(lack)

    @property
    def seen_decoded(self) -> Seen:
        """What is in it, with what is odd about the pixels that were decoded."""
        return replace(self.seen, warnings=(*self.seen.warnings, *self._odd_pixels().values()))

    def _odd_pixels(self) -> dict[str, str]:
        """Say by what they lack in what many of the images that were decoded there is little to see."""
        decoded = [index for index in sorted(self._blank) if not self._reasons.get(index)]
        found: dict[str, list[str]] = {}
        for index in decoded:
            found.setdefault(self._blank[index], []).append(self.items[index].key)
        return {
            lack: f"{len(names)} of {len(decoded)} images that were read are {lack} as decoded ({first_few(names)}); "
            "look at them"
            for lack, names in found.items()
            if lack and len(names) >= WORTH_SAYING * len(decoded)
        }
