"""The part of the contract of backends that is about weights which come trained."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from nns.places import BackendWeights, RemoteWeights
from nns.types import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from nns.backends import Backend, PretrainedOffer
    from nns.types import ArchitectureSpec


class PretrainedContract:
    """Tests of what a backend offers with trained weights; :class:`nns.testing.BackendContract` has them."""

    image_size: ClassVar[int]
    classes: ClassVar[int]

    @pytest.fixture
    def trained(self, backend: Backend) -> Sequence[PretrainedOffer]:
        """Return what is listed as trained; skip where that is nothing."""
        return trained_offers(backend)

    def test_pretrained_offers(self, backend: Backend, trained: Sequence[PretrainedOffer]) -> None:
        """Offers are the same each time, each once, and say what they are."""
        assert repr(list(trained)) == repr(list(backend.pretrained()))  # as text NaN equals itself
        assert len({(offer.spec.name, offer.spec.source) for offer in trained}) == len(trained), "one is offered twice"
        for offer in trained:
            assert offer.spec.backend == backend.name
            assert survives_json(offer.spec.config)
            assert offer.spec.source != "random", f"the source of {offer.spec.name!r} names no trained weights"
            assert offer.dataset
            assert len(offer.classes) != 1
            assert len(set(offer.classes)) == len(offer.classes), f"{offer.spec.name!r} has two classes of one name"
            assert math.isnan(offer.accuracy) or 0 <= offer.accuracy <= 1
            assert backend.license(offer.spec).strip()

    def test_pretrained_preprocessing(
        self, backend: Backend, trained: Sequence[PretrainedOffer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Trained weights want the mean and deviation that they were trained with: those are named, not left out."""
        init, left = Preprocessing.__init__, []

        def record(self: Preprocessing, size: int, *args: Any, **named: Any) -> None:
            if len(args) + len(named) < len(("mean", "std")):
                left.append(size)
            init(self, size, *args, **named)

        monkeypatch.setattr(Preprocessing, "__init__", record)
        for offer in trained:
            for size in (None, self.image_size):
                backend.preprocessing(offer.spec, size)
                assert not left, f"name mean and std of {offer.spec.name!r}: the defaults are those of ImageNet"

    def test_pretrained(self, backend: Backend, trained: Sequence[PretrainedOffer]) -> None:
        """What is at hand comes with its weights and a head for its classes, or with none and no classes."""
        for offer in trained:
            if offer.weights is not None:
                continue
            module = backend.load_pretrained(offer)
            preprocessing = backend.preprocessing(offer.spec, self.image_size)
            assert not module.training
            if offer.classes:
                assert module(noise(1, preprocessing)).shape == (1, len(offer.classes)), offer.spec.name
            again = backend.load(offer.spec, module.state_dict(), len(offer.classes))  # as a zoo will
            assert not changed(module, again), offer.spec.name
            fresh = backend.replace_head(module, self.classes, seed=0).eval()
            assert fresh(noise(1, preprocessing)).shape == (1, self.classes)

    def test_pretrained_elsewhere(
        self, backend: Backend, trained: Sequence[PretrainedOffer], tmp_path: Path, spec: ArchitectureSpec
    ) -> None:
        """Weights that are elsewhere are at a place that a zoo can name, and are read as the file that is fetched."""
        import torch

        elsewhere = [offer for offer in trained if offer.weights is not None]
        for offer in elsewhere:
            assert isinstance(offer.weights, RemoteWeights), offer.spec.name
            if isinstance(offer.weights, BackendWeights):
                assert backend.weights_host(offer.weights.name)
        for offer in [offer for offer in elsewhere if offer.spec.name == spec.name][:1]:
            count = len(offer.classes)
            module = backend.build(replace(offer.spec, source="random"), count, seed=7).eval()
            torch.save(module.state_dict(), tmp_path / "weights.pth")
            loaded = backend.load(offer.spec, backend.read_weights(offer.spec, tmp_path / "weights.pth"), count)
            assert not changed(module, loaded), offer.spec.name


def trained_offers(backend: Backend) -> Sequence[PretrainedOffer]:
    offers = backend.pretrained()
    if not offers:
        pytest.skip("pretrained() lists nothing")
    return offers


def survives_json(value: object) -> bool:
    """Return whether a value is the same after it was written as JSON, tuples read back as lists."""
    written = json.dumps(value, allow_nan=False, sort_keys=True)
    return json.dumps(json.loads(written), sort_keys=True) == written


def noise(images: int, preprocessing: Preprocessing) -> torch.Tensor:
    """Make (images, 3, size, size) float32."""
    import torch

    size = preprocessing.size
    return torch.randn(images, 3, size, size, generator=torch.Generator().manual_seed(0))


def changed(before: nn.Module | dict[str, torch.Tensor], after: nn.Module) -> set[str]:
    """Name the tensors of ``after`` that ``before`` lacks or has otherwise."""
    import torch

    old = before if isinstance(before, dict) else before.state_dict()
    new = after.state_dict()
    return {name for name, tensor in new.items() if name not in old or not torch.equal(old[name], tensor)}
