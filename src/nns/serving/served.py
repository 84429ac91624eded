"""The zoo that is served: another takes its place while searches go on in the one of before."""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.errors import NnsError
from nns.searching.ranking import search_record
from nns.searching.ready import ReadyZoo
from nns.searching.results import QueryDataset
from nns.types import DatasetRecord
from nns.zoo import Zoo

if TYPE_CHECKING:
    from pathlib import Path

    from nns.data.extractors import Extractor

_log = logging.getLogger("nns")

LOOK_EVERY = 1.0
"""Seconds between two looks at the file."""
REST = 10
"""How many times as long as it takes to load a zoo the next is waited for: a build adds networks all the time."""


@dataclass(eq=False)
class ServedZoo:
    """A zoo, read anew when its file or journal is another.

    Attributes:
        path: The zoo.
        space: Name of the space that ranks; None: the default.
        ready: The zoo as it was read last. It is replaced, never changed: who took it keeps it.
        problem: Why what is there now cannot be served; empty if it is.
    """

    path: Path
    space: str | None = None
    ready: ReadyZoo = field(init=False)
    problem: str = ""
    _stamp: Any = field(init=False)
    _extractor: Extractor | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Read it for the first time.

        Raises:
            NnsError: If it cannot be searched in.
        """
        self._stamp, self.ready = self._load()

    @property
    def extractor(self) -> Extractor:
        """The extractor of the zoo; one is kept over many snapshots, since it reads its weights once."""
        named = self.ready.extractor
        if self._extractor is None or self._extractor.name != named.name:
            self._extractor = named
        return self._extractor

    def watch(self) -> None:
        """Look for another zoo until :meth:`end`, in a thread of its own."""
        threading.Thread(target=self._watch, daemon=True, name="nns-served-zoo").start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def look(self) -> bool:
        """Read the zoo anew if it is another; return whether there was anything to read.

        What cannot be read or searched in is told once, and the zoo of before is served on.
        """
        stamp = self.ready.zoo.store.stamp()
        if stamp == self._stamp:
            return False
        try:
            self._stamp, self.ready = self._load()
            self.problem = ""
            _log.info("serving %s anew: %d networks", self.path, len(self.ready.zoo))
        except Exception as error:  # noqa: BLE001 - of a file that anybody may put there; the service goes on
            self._stamp = stamp  # it is not tried again and again
            self.problem = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            _log.warning("the zoo of before is served on, this one cannot be: %s", self.problem)
        return True

    def _watch(self) -> None:
        rest = LOOK_EVERY
        # not all processes of a service at one moment
        while not self._ended.wait(rest * random.uniform(0.5, 1.5)):
            began = time.monotonic()
            rest = LOOK_EVERY
            if self.look():
                rest = max(LOOK_EVERY, REST * (time.monotonic() - began))

    def _load(self) -> tuple[Any, ReadyZoo]:
        zoo = Zoo(self.path, offline=True)
        stamp = zoo.store.stamp()  # before it is read: what is written meanwhile is read next time
        ready = ReadyZoo.of(zoo, self.space)
        if not len(zoo):
            raise NnsError(f"{self.path} has no networks")
        _search_once(ready)
        return stamp, ready


def _search_once(ready: ReadyZoo) -> None:
    """Search with made-up features: that reads what any search reads, and refuses a zoo that nobody can search in."""
    features = np.random.default_rng(0).standard_normal((8, ready.extractor.feature_dim)).astype(np.float32)
    name = ready.extractor.name
    record = DatasetRecord("", "", (), features, np.full(len(features), -1, np.int64), len(features), name)
    search_record(record, QueryDataset("", None, len(features), (), ""), ready)
