"""What the processes do that are killed: write, merge, remove and read, telling each step on a pipe.

A step is told before it begins and acknowledged after it returned, each with the time, one JSON list a line.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nns.errors import ZooError
from nns.stores import HDF5Store
from store import records

PINNED = 8
"""The first networks of each writer are never removed."""

EACH = 10_000
"""Networks of writer w have the numbers from w * EACH on."""

CONTESTED = 90_000
"""Numbers from here on are added by both writers, with different contents."""

MANY = 60
"""A writer waits, and the remover removes, while there are more networks than that."""

OpenStore = Callable[[Path], HDF5Store]


class Teller:
    """Tells steps on a pipe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def line(self, *what: Any) -> None:
        """Write a line, with the time as second item."""
        data = json.dumps([what[0], time.monotonic(), *what[1:]]).encode() + b"\n"
        while data:
            data = data[os.write(self._pipe, data) :]

    @contextmanager
    def step(self, kind: str, values: Mapping[str, int | None], number: int = 0) -> Iterator[None]:
        """Tell the beginning and the end of a step that writes ``values``."""
        self.line("begin", kind, values, number)
        try:
            yield
        except ZooError as error:
            self.line("refused" if "is in the zoo already" in str(error) else "failed", f"{kind}: {error}")
        else:
            self.line("end")


def write(path: Path, open_store: OpenStore, tell: Teller, dice: random.Random, writer: int, number: int) -> None:
    """Add networks and whatever else there is, beginning with step ``number``."""
    store, first = open_store(path), writer * EACH
    while True:
        if number < PINNED:
            _add_pinned(store, tell, first + number, number)
        elif len(store.ids()) > 2 * MANY:
            time.sleep(0.005)
            store.refresh()
            continue
        else:
            _add_some(store, tell, dice, writer, number)
        number += 1


def _add_pinned(store: HDF5Store, tell: Teller, network: int, number: int) -> None:
    """Add a network that stays; its supernet before, and again after in case it was collected meanwhile."""
    parent = records.parent(network)
    if parent is not None:
        with tell.step("supernet", {f"supernet {parent}": 1}, number):
            store.add_supernet(records.supernet(parent))
    with tell.step("network", {f"network {network}": 0}, number):
        store.add_network(records.network(network, 0))
    if parent is not None:
        with tell.step("hold", {f"supernet {parent}": 1}, number):
            store.add_supernet(records.supernet(parent))


def _add_some(store: HDF5Store, tell: Teller, dice: random.Random, writer: int, number: int) -> None:
    first, turn = writer * EACH, number % 16
    pinned = first + dice.randrange(PINNED)
    if turn == 0:
        several = [first + EACH // 2 + 10 * (number // 16) + at for at in range(dice.randint(2, 9))]
        with tell.step("networks", {f"network {name}": 0 for name in several}, number):
            store.add_all(records.network(name, 0) for name in several)
    elif turn == 3:
        with tell.step("contest", {f"network {CONTESTED + number}": writer}, number):
            store.add_network(records.network(CONTESTED + number, writer))
    elif turn == 4:  # one of the two as a batch
        several = [CONTESTED + number] + [first + EACH // 2 + 10 * (number // 16) + 9] * writer
        with tell.step("contest", {f"network {name}": writer for name in several}, number):
            store.add_all(records.network(name, writer) for name in several)
    elif turn == 5:
        with tell.step("dataset", {f"dataset {number}": 1}, number):
            store.add_dataset(records.dataset(number))
    elif turn == 7:
        with tell.step("space", {"space main": first + number}, number):
            store.put_space(records.space("main", first + number))
    elif turn == 9:
        with tell.step("transfer", {f"transfer {pinned}": number}, number):
            store.put_transfers([records.transfer(pinned, number)])
    elif turn == 11:
        with tell.step("latency", {f"latency {pinned}": number}, number):
            store.put_latencies([records.latency(pinned, number)])
    elif turn == 13:  # nothing refers to it
        with tell.step("supernet", {f"supernet {10 + number}": 1}, number):
            store.add_supernet(records.supernet(10 + number))
    else:
        with tell.step("network", {f"network {first + number}": 0}, number):
            store.add_network(records.network(first + number, 0))


def merge(path: Path, open_store: OpenStore, tell: Teller, dice: random.Random) -> None:
    """Merge again and again, sometimes with a collection of garbage."""
    store = open_store(path)
    while True:
        time.sleep(dice.uniform(0, 0.02))
        collect = dice.random() < 0.15
        with tell.step("collect" if collect else "merge", {}):
            store.collect_garbage() if collect else store.merge()


def remove(path: Path, open_store: OpenStore, tell: Teller, dice: random.Random) -> None:
    """Remove networks, and add some of them again, with the same content or another one."""
    store = open_store(path)
    while True:
        store.refresh()
        numbers = [int(network, 16) for network in store.ids()]
        loose = [number for number in numbers if number < CONTESTED and number % EACH >= PINNED]
        count = max(len(numbers) - MANY, dice.randint(0, 3))
        chosen = dice.sample(loose, min(count, len(loose)))
        if not chosen:
            time.sleep(0.01)
            continue
        with tell.step("remove", {f"network {number}": None for number in chosen}):
            store.remove([records.network_id(number) for number in chosen])
        for number in chosen[:2]:
            seed = dice.choice([0, 0, 1, 2])
            if dice.random() < 0.5:
                with tell.step("again", {f"network {number}": seed}):
                    store.add_network(records.network(number, seed))


def read(path: Path, open_store: OpenStore, tell: Teller, dice: random.Random) -> None:
    """Open the zoo, read all of it and tell what is there, again and again."""
    while True:
        begin = time.monotonic()
        try:
            with open_store(path) as store:
                seen, wrong = records.look(store)
        except ZooError as error:
            tell.line("failed", f"open: {error}")
        else:
            tell.line("seen", begin, seen, wrong)
        time.sleep(dice.uniform(0, 0.01))
