"""Filtering and scoring millions of networks exactly, beside the bandwidth of memory; and by an index."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from nns.searching.index import SHARES, NetworkIndex
from nns.searching.limits import CostColumns
from nns.searching.order import SORTED, best_first
from nns.space._scanning import in_blocks, score_rows
from nns.space.mixed.method import Mixed
from nns.threads import reading_threads
from nns.types import Limits, NetworkColumns

BEST = 10
FEATURE_DIMS = np.array([320, 576, 640, 960, 1024, 1280])
"""Widths of usual networks before the head."""
GROUPS = 2_000
"""Groups of networks that are alike: trained on one dataset, or cut from one supernet."""
SPREAD = 0.6
"""How far the networks of a group are from its centre, beside the length of one."""


@dataclass(frozen=True, eq=False)
class MadeUp:
    """Networks of a made-up fitted space.

    Attributes:
        columns: Their numbers.
        embeddings: (n, 129): as the default method makes them where nothing is known of other datasets.
        queries: (q, 129) embeddings of datasets, each near a group.
        method: What scores them.
    """

    columns: NetworkColumns
    embeddings: NDArray[np.float32]
    queries: NDArray[np.float32]
    method: Mixed


def make(count: int, queries: int, seed: int = 0) -> MadeUp:
    """Make so many networks, whose embeddings lie in groups and whose sizes are spread as those of a hub."""
    random = np.random.default_rng(seed)
    method = Mixed()
    method.tensors_ = {
        "history.units": np.zeros((0, 0), np.float32),
        "ranking_weight": np.ones(1, np.float32),
        "datasets": np.zeros((1, method.dim + 1), np.float32),
    }
    dim = method.dim
    centres = _unit(random.standard_normal((GROUPS, dim), np.float32))
    embeddings = np.empty((count, dim + 1), np.float32)

    def fill(part: slice) -> None:
        own = np.random.default_rng([seed, part.start])  # the same whichever thread comes first
        some = own.standard_normal((part.stop - part.start, dim), np.float32)
        some *= SPREAD / np.sqrt(dim)
        some += centres[own.integers(0, GROUPS, len(some))]
        embeddings[part, :dim] = _unit(some)
        embeddings[part, dim] = 0.05 * own.standard_normal(len(some), np.float32)

    in_blocks(fill, count)
    near = centres[random.integers(0, GROUPS, queries)]
    asked = np.zeros((queries, dim + 1), np.float32)
    asked[:, :dim] = _unit(near + SPREAD / np.sqrt(dim) * random.standard_normal(near.shape, np.float32))
    params = (10 ** random.uniform(5.3, 8.7, count)).astype(np.int64)
    columns = NetworkColumns(
        ids=np.zeros(count, "S64"),
        body_params=params,
        body_macs=(params * 10 ** random.uniform(1, 3, count)).astype(np.int64),
        body_bytes=4 * params,
        feature_dim=FEATURE_DIMS[random.integers(0, len(FEATURE_DIMS), count)],
        classes=np.full(count, 1000, np.int64),
        accuracy=np.full(count, np.nan),
        fingerprinted=np.ones(count, np.bool_),
    )
    return MadeUp(columns, embeddings, asked, method)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def timed(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the medians of seconds by the clock, and of processors."""
    clock, processor = [], []
    for _ in range(rounds):
        started, before = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - started)
        processor.append(time.process_time() - before)
    return median(clock), median(processor)


def read_all(rows: NDArray[np.float32]) -> None:
    """Read memory as fast as it goes: what a pass over it takes at least."""
    words = rows.reshape(-1)[: rows.size // 2 * 2].view(np.uint64)
    block = len(words) * 65_536 // len(rows)
    parts = range(0, len(words), block)

    def read(part: slice) -> None:
        for at in range(part.start, part.stop):
            np.bitwise_or.reduce(words[at * block : (at + 1) * block])

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(reading_threads()) as pool:
        list(pool.map(lambda at: read(slice(at, at + 1)), range(len(parts))))


def find_exactly(made: MadeUp, query: NDArray[np.float32], limits: Limits, classes: int) -> NDArray[np.int64]:
    """Filter and score as a search does; return the rows of the best."""
    rows = np.flatnonzero(CostColumns(made.columns, classes).all_within(limits))
    scores = score_rows(made.method, query, made.embeddings, rows)
    return rows[best_first(scores, SORTED)[:BEST]]


LIMITS = {
    "none": Limits(),
    "half": Limits(max_params=10_000_000),
    "one in ten": Limits(max_params=1_000_000, max_macs=10**9),
    "one in a hundred": Limits(max_params=750_000, max_macs=20_000_000),
}


def one_in_ten_thousand(made: MadeUp, classes: int) -> Limits:
    """Choose limits within which one network in ten thousand is."""
    costs = CostColumns(made.columns, classes)
    return Limits(max_params=int(np.partition(costs.params, len(made.columns) // 10_000)[len(made.columns) // 10_000]))


def exactly(made: MadeUp, rounds: int, classes: int = 10) -> list[dict[str, float | str]]:
    """Measure exact searches within several limits, each in turn with a pass that only reads."""
    limits = LIMITS | {"one in ten thousand": one_in_ten_thousand(made, classes)}
    found: list[dict[str, float | str]] = []
    for name, each in limits.items():
        reads, works, shares = [], [], []
        for turn in range(rounds):
            query = made.queries[turn % len(made.queries)]
            reads.append(timed(lambda: read_all(made.embeddings), 1))
            works.append(timed(lambda q=query, e=each: find_exactly(made, q, e, classes), 1))
        within = int(CostColumns(made.columns, classes).all_within(each).sum())
        limited = len(CostColumns(made.columns, classes).limited(each))
        # what must be read: the embeddings, and of each limit the number of a network and the width of its head
        must = made.embeddings.nbytes + 8 * len(made.columns) * (limited + bool(limited))
        for read, work in zip(reads, works, strict=True):
            speed = made.embeddings.nbytes / read[0]
            shares.append(must / work[0] / speed)
        found.append(
            {
                "limits": name,
                "within": within,
                "seconds": median(w for w, _ in works),
                "processor": median(p for _, p in works),
                "read GB/s": made.embeddings.nbytes / median(r for r, _ in reads) / 1e9,
                "read GB/s of processor": made.embeddings.nbytes / median(p for _, p in reads) / 1e9,
                "share of bandwidth": median(shares),
                "share by processor": median(
                    must / work[1] * read[1] / made.embeddings.nbytes for read, work in zip(reads, works, strict=True)
                ),
            }
        )
    return found


def by_index(made: MadeUp, rounds: int, classes: int = 10) -> list[dict[str, float | str]]:
    """Make an index with half of the queries, and measure it with the others within several limits."""
    half = len(made.queries) // 2
    started, before = time.perf_counter(), time.process_time()
    index = NetworkIndex.build(made.method, made.embeddings, made.columns, made.queries[:half])
    built = time.perf_counter() - started, time.process_time() - before
    found: list[dict[str, float | str]] = [
        {"limits": "build", "seconds": built[0], "processor": built[1], "cells": index.cells.nlist}
        | {f"looked at of {round(1 / share)}": looked for share, looked in zip(SHARES, index.looked, strict=True)}
    ]
    limits = LIMITS | {"one in ten thousand": one_in_ten_thousand(made, classes)}
    for name, each in limits.items():
        clock, processor, recalls, how = [], [], [], set()
        for query in made.queries[half : half + 10 * rounds]:
            started, before = time.perf_counter(), time.process_time()
            answer = index.search(query, BEST, each, classes)
            clock.append(time.perf_counter() - started)
            processor.append(time.process_time() - before)
            expected = find_exactly(made, query, each, classes)
            recalls.append(len(set(answer.rows.tolist()) & set(expected.tolist())) / max(len(expected), 1))
            how.add(answer.how)
        found.append(
            {
                "limits": name,
                "how": " and ".join(sorted(how)),
                "ms": 1e3 * median(clock),
                "ms of processor": 1e3 * median(processor),
                "ms, 99 %": 1e3 * float(np.quantile(clock, 0.99)),
                "recall@10": float(np.mean(recalls)),
            }
        )
    return found
