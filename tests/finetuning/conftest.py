"""A backend of tiny networks, and scikit-learn's digits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from nns.backends import Backend
from nns.backends._base import WorkItem
from nns.backends.seeding import seeded
from nns.errors import UsageError
from nns.finetuning import Card, Entrant, LadderResult, Recipe, climb, make_card
from nns.plugins import Registry
from nns.types import (
    ArchitectureSpec,
    LabelledArrays,
    NetworkCost,
    NetworkEntry,
    Preprocessing,
    Provenance,
    SplitArrays,
)

SIZE = 16
PREPROCESSING = Preprocessing(SIZE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
RECIPE = Recipe(epochs=4, lr=1e-2, label_smoothing=0.0, device="cpu")


class TinyNet(nn.Module):
    """Two convolutions with batch norm and a linear classifier."""

    clock: Clock | None = None

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(2 * width * (SIZE // 4) ** 2, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the logits."""
        if self.clock:
            self.clock.tick(self, (images,))
        logits: torch.Tensor = self.classifier(self.body(images))
        return logits


class TinyBackend(Backend):
    """Builds :class:`TinyNet`; ``config["width"]`` says how wide."""

    name = "tiny"

    def offers(self, pattern: str = "*") -> Sequence[ArchitectureSpec]:
        return [spec_of(8)]

    def plan(self, networks: int, image_size: int, seed: int) -> Sequence[WorkItem]:
        return []

    def build(self, spec: ArchitectureSpec, classes: int, seed: int = 0) -> nn.Module:
        width = spec.config.get("width")
        if not isinstance(width, int) or not 1 <= width <= 64:
            raise UsageError(f"width {width!r} is not one of 1 to 64")
        with seeded(seed):
            return TinyNet(width, classes)

    def replace_head(self, module: nn.Module, classes: int, seed: int = 0) -> nn.Module:
        raise NotImplementedError

    def features(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def preprocessing(self, spec: ArchitectureSpec, image_size: int | None = None) -> Preprocessing:
        return PREPROCESSING

    def topology(self, spec: ArchitectureSpec) -> tuple[float, ...]:
        return ()

    def license(self, spec: ArchitectureSpec) -> str:
        return "Apache-2.0"


def spec_of(width: int) -> ArchitectureSpec:
    return ArchitectureSpec("tiny", f"tiny-{width}", {"width": width})


def entrant_of(width: int, *, seed: int = 0) -> Entrant:
    """A candidate whose id is its width."""
    spec = spec_of(width)
    return Entrant(str(width), spec.name, lambda: TinyBackend().build(spec, 10, seed), PREPROCESSING)


@lru_cache(maxsize=1)
def digits_arrays() -> SplitArrays:
    """400 digits to train on, 100 to validate and 100 to test, 16 px."""
    digits = load_digits()
    grey = (digits.images / 16 * 255).astype(np.uint8).repeat(SIZE // 8, 1).repeat(SIZE // 8, 2)
    images = np.ascontiguousarray(grey[:, None].repeat(3, 1))
    labels = digits.target.astype(np.int64)

    def part(start: int, stop: int) -> LabelledArrays:
        return LabelledArrays(images[start:stop], labels[start:stop])

    classes = tuple(f"digit {number}" for number in range(10))
    return SplitArrays("digits", classes, part(0, 400), part(400, 500), part(500, 600))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Clock:
    """Time that passes in :class:`TinyNet` alone: wider ones are slower, a step takes three forward passes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def tick(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        width = module.body[0].out_channels  # type: ignore[index,union-attr]
        self.now += len(inputs[0]) * (3e-4 if module.training else 1e-4) * width


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that other processes on the machine do not disturb."""
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(TinyNet, "clock", clock)
    return clock


@pytest.fixture
def digits() -> SplitArrays:
    return digits_arrays()


@pytest.fixture
def data_of(digits: SplitArrays) -> Callable[[Preprocessing], SplitArrays]:
    return lambda preprocessing: digits


@pytest.fixture
def registry() -> Registry:
    return Registry((), (), {"backend": {"tiny": TinyBackend}})


@pytest.fixture(scope="session")
def result() -> LadderResult:
    """The result of a ladder of one candidate, trained for real."""
    torch.set_num_threads(1)
    return climb([entrant_of(8)], lambda _: digits_arrays(), RECIPE)


@pytest.fixture(scope="session")
def card(result: LadderResult) -> Card:
    cost = NetworkCost(1000, 100_000, 4_000, 256)
    entry = NetworkEntry(
        "0a1b", spec_of(8), cost, PREPROCESSING, ("a", "b"), "letters", "", 0.5, "Apache-2.0", Provenance()
    )
    return make_card(
        result,
        entry,
        classes=digits_arrays().classes,
        dataset="digits",
        dataset_digest="d1",
        zoo_digest="z1",
        recipe=RECIPE,
    )


def without_test(data: SplitArrays) -> SplitArrays:
    return replace(data, test=None)
