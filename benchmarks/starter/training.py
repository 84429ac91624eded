"""Step 3: teaching one student for a number of seconds, in as many runs as it takes."""

from __future__ import annotations

import json
import math
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from starter.augmenting import shifted
from starter.lites import to_input
from starter.students import OfaStudent, create_student

SAVED_EVERY = 120.0
"""Seconds between checkpoints."""
EARLY_SHARE = 0.6
"""Share of the time in which pictures may be smaller; the rest gets a network used to its full size."""


@dataclass(frozen=True)
class Lesson:
    """How a student is taught.

    Attributes:
        seconds: Training time in all; the learning rate follows it, so a busy machine teaches less, not worse.
        batch: Pictures a step.
        rate: Peak learning rate of AdamW, one cycle.
        decay: Weight decay of tensors of two dimensions and more.
        shift: Random shifts in pixels.
        warmup: Share of the time in which the rate rises.
        early: Pixels of a side in the first :data:`EARLY_SHARE` of the time (Tan and Le, "EfficientNetV2", ICML 2021:
            smaller pictures first): at 48 nearly twice as many pictures a second. 0: full size from the start.
        first: Only so many pictures from the beginning; 0: all that the teachers have seen.
        only: Sources whose pictures count, as patterns of names (``bank-glyphs-*``); none: all. For specialists.
        without: Sources whose pictures do not, likewise.
        start: Name and tag of another student of this architecture, whose trunk this one begins with.
        labels: Weight of the classes of the bank's tasks beside the teachers' features; 0: no labels at all.
    """

    seconds: float
    batch: int = 128
    rate: float = 2e-3
    decay: float = 0.02
    shift: int = 6
    warmup: float = 0.1
    early: int = 0
    first: int = 0
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    start: str = ""
    labels: float = 0.0
    seed: int = 0


class Lectures:
    """Batches of pictures with what the teachers see in them, in an order that depends on seed and step alone."""

    def __init__(self, crops: Path, teachers: list[Path], lesson: Lesson) -> None:
        """Open the arrays; as many pictures count as all teachers have seen."""
        self.images = np.load(crops / "images64.npy", mmap_mode="r")
        self.teachers = [path.name for path in teachers]
        self.targets = [np.load(path / "targets.npy", mmap_mode="r") for path in teachers]
        seen = [int(json.loads((path / "progress.json").read_text())["done"]) for path in teachers]
        self.rows = _chosen_rows(crops, min(*seen, lesson.first) if lesson.first else min(seen), lesson)
        self.count = len(self.rows)
        self.components = sum(target.shape[1] for target in self.targets)
        self.classes = Classes(crops, self.rows) if lesson.labels else None
        self.outputs = self.components + (self.classes.count if self.classes else 0)
        self.lesson = lesson
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.int64]]:
        """Give (n, 3, 64, 64) float32, channels last, (n, components) float32, and which pictures they are, (n,)."""
        rows = np.sort(self.rows[self._rows(step)])  # in the order of the file: kinder to the page cache
        rng = np.random.default_rng([self.lesson.seed, 1, step])
        images = to_input(torch.from_numpy(shifted(self.images[rows], self.lesson.shift, rng)))
        targets = np.concatenate([target[rows] for target in self.targets], axis=1)
        return images, torch.from_numpy(targets).float(), rows

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
        """Compute the mean squared error of the features, and the weighed cross-entropy of what has a class."""
        features = torch.nn.functional.mse_loss(outputs[:, : self.components], targets)
        if self.classes is None:
            return features
        return features + self.lesson.labels * self.classes.loss(outputs[:, self.components :], rows)

    def _rows(self, step: int) -> NDArray[np.int64]:
        a_pass = self.count // self.lesson.batch
        epoch, place = divmod(step, a_pass)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.lesson.seed, 0, epoch]).permutation(self.count)
        return self._order[place * self.lesson.batch : (place + 1) * self.lesson.batch]


class Classes:
    """The classes of all labelled tasks side by side; a picture is told apart from those of its own task only.

    Args:
        crops: Folder of the pictures and their index.
        rows: Which pictures count, (n,).
    """

    def __init__(self, crops: Path, rows: NDArray[np.int64]) -> None:
        """Number the classes of the tasks that have pictures among the rows."""
        index = np.load(crops / "index.npz")
        self.source, self.label = index["source"], index["label"].astype(np.int64)
        self.start = np.zeros(len(index["names"]), np.int64)
        sizes = np.zeros(len(index["names"]), np.int64)
        labelled = rows[self.label[rows] >= 0]
        np.maximum.at(sizes, self.source[labelled], self.label[labelled] + 1)
        self.start[1:] = np.cumsum(sizes)[:-1]
        self.count = int(sizes.sum())
        self.owner = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes))

    def loss(self, logits: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
        """Compute the mean cross-entropy over those pictures that have a class; 0 where none has."""
        has = np.flatnonzero(self.label[rows] >= 0)
        if not len(has):
            return logits.sum() * 0
        source = self.source[rows[has]]
        other = self.owner[None, :] != torch.from_numpy(source.astype(np.int64))[:, None]
        classes = torch.from_numpy(self.start[source] + self.label[rows[has]])
        own = logits[torch.from_numpy(has)].masked_fill(other, -math.inf)
        return torch.nn.functional.cross_entropy(own, classes)


def _chosen_rows(crops: Path, count: int, lesson: Lesson) -> NDArray[np.int64]:
    if not lesson.only and not lesson.without:
        return np.arange(count)
    index = np.load(crops / "index.npz")
    names = [str(name) for name in index["names"]]
    wanted = [not lesson.only or any(fnmatch(name, pattern) for pattern in lesson.only) for name in names]
    avoided = [any(fnmatch(name, pattern) for pattern in lesson.without) for name in names]
    rows = np.flatnonzero((np.array(wanted) & ~np.array(avoided))[index["source"][:count]])
    if len(rows) < lesson.batch:
        raise SystemExit(f"{len(rows)} pictures are too few; sources: {', '.join(names)}")
    return rows


def rate_at(progress: float, warmup: float) -> float:
    """Rise linearly, then fall as half a cosine; a share of the peak."""
    if progress < warmup:
        return max(progress / warmup, 0.04)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


def teach(name: str, crops: Path, teachers: list[Path], out: Path, lesson: Lesson) -> None:
    """Teach a student, from its last checkpoint on if there is one; leave when its seconds are over."""
    lectures = Lectures(crops, teachers, lesson)
    student = create_student(name, lectures.outputs, lesson.seed)
    if lesson.start:
        _begin_with(student, torch.load(out.parent / lesson.start / "checkpoint.pt", weights_only=True)["student"])
    student.network.to(memory_format=torch.channels_last)
    optimizer = _optimizer(student, lesson)
    state: dict[str, Any] = {"step": 0, "seconds": 0.0}
    checkpoint = out / "checkpoint.pt"
    out.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(saved["student"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
    student.train()
    with ExitStack() as stack:
        _speed_up(student, stack)
        losses: list[float] = []
        before, last_step = state["seconds"], state["step"]
        began = saved_at = time.perf_counter()
        while state["seconds"] < lesson.seconds:
            for group in optimizer.param_groups:
                group["lr"] = lesson.rate * rate_at(state["seconds"] / lesson.seconds, lesson.warmup)
            side = lesson.early if state["seconds"] < EARLY_SHARE * lesson.seconds else 0
            losses.append(_step(student, lectures, optimizer, state["step"], side))
            state["step"] += 1
            state["seconds"] = before + time.perf_counter() - began
            if time.perf_counter() - saved_at > SAVED_EVERY or state["seconds"] >= lesson.seconds:
                speed = (state["step"] - last_step) * lesson.batch / (time.perf_counter() - saved_at)
                both = {"student": student.state_dict(), "optimizer": optimizer.state_dict()}
                _save(checkpoint, {**both, "state": state})
                images, loss = state["step"] * lesson.batch, round(float(np.mean(losses)), 4)
                row = {"student": name, "images": images, "images_a_second": round(speed), "loss": loss, **state}
                _log(out, lesson, lectures, row)
                losses, saved_at, last_step = [], time.perf_counter(), state["step"]


def _step(student: Any, lectures: Lectures, optimizer: torch.optim.Optimizer, step: int, side: int) -> float:
    images, targets, rows = lectures.batch(step)
    if side:
        images = torch.nn.functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer.zero_grad(set_to_none=True)
    first = math.nan
    for network in student.passes(np.random.default_rng([lectures.lesson.seed, 2, step])):
        loss = lectures.loss(network(images), targets, rows)
        loss.backward()
        first = float(loss.detach()) if math.isnan(first) else first  # of a supernet, the largest subnet's
    torch.nn.utils.clip_grad_norm_(student.parameters(), 5.0)
    optimizer.step()
    return first


def _begin_with(student: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Take every tensor that fits; the layer to the components is another one where the classes differ."""
    own = student.state_dict()
    student.load_state_dict({n: t for n, t in state.items() if t.shape == own[n].shape}, strict=False)


def _optimizer(student: torch.nn.Module, lesson: Lesson) -> torch.optim.Optimizer:
    matrices = [p for p in student.parameters() if p.ndim > 1]
    vectors = [p for p in student.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": lesson.decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lesson.rate, fused=True)


def _speed_up(student: Any, stack: ExitStack) -> None:
    """Compute convolutions on small maps as matrix products, where this checkout of nns has that."""
    try:
        from nns.backends.convolutions import quick_convolutions
        from nns.backends.ofa.reach import crop_kernels_to_reach
    except ImportError:
        return
    kinds: tuple[type, ...] = ()
    if isinstance(student, OfaStudent):
        from ofa.imagenet_classification.elastic_nn.modules import dynamic_op

        crop_kernels_to_reach(student.network)
        kinds = (dynamic_op.DynamicConv2d, dynamic_op.DynamicSeparableConv2d, dynamic_op.DynamicSE)
    stack.enter_context(quick_convolutions(student.network, *kinds))


def _save(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}")
    torch.save(value, temporary)
    temporary.rename(path)  # whole or not at all


def _log(out: Path, lesson: Lesson, lectures: Lectures, row: dict[str, Any]) -> None:
    row |= {"at": time.strftime("%FT%TZ", time.gmtime())}
    print(json.dumps(row), flush=True)
    row |= {"of": lectures.count, "teachers": lectures.teachers, "lesson": asdict(lesson)}
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")
