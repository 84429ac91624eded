"""A hub on loopback, and a user with folders of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nns import Zoo
from nns.places import Weights
from nns.types import ArchitectureSpec, NetworkCost, NetworkEntry, NetworkRecord, Preprocessing

from .hub import Hub, Repository


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of a user who has fetched nothing yet."""
    from huggingface_hub import constants

    folder = tmp_path / "user"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hf" / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "hf" / "token"))
    return folder


@pytest.fixture
def hub(user: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub, which HF_ENDPOINT names."""
    from huggingface_hub import constants

    served = Hub()
    monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
    monkeypatch.setattr(constants, "ENDPOINT", served.endpoint)
    template = served.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield served
    served.close()


@pytest.fixture(scope="session")
def lite0() -> bytes:
    """EfficientNet-Lite0 with its ImageNet weights, as timm publishes networks: safetensors, under timm's names."""
    import timm
    from safetensors.torch import save

    from nns.backends.timm import weights

    module = timm.create_model("tf_efficientnet_lite0")
    state = weights.in_order("tf_efficientnet_lite0", weights.package_state("tf_efficientnet_lite0"))
    module.load_state_dict(state)
    return save({name: tensor.contiguous() for name, tensor in module.state_dict().items()})


REPO = "timm/tf_efficientnet_lite0.in1k"


@pytest.fixture
def published(hub: Hub, lite0: bytes) -> Hub:
    """The hub, with EfficientNet-Lite0 in timm's repository of it."""
    config = {
        "architecture": "tf_efficientnet_lite0",
        "num_classes": 1000,
        "num_features": 1280,
        "pretrained_cfg": {
            "tag": "in1k",
            "input_size": [3, 224, 224],
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "license": "apache-2.0",
            "num_classes": 1000,
        },
    }
    files = {"model.safetensors": lite0, "config.json": json.dumps(config).encode()}
    info = {"tags": ["timm", "image-classification", "license:apache-2.0"], "cardData": {"license": "apache-2.0"}}
    info |= {"pipeline_tag": "image-classification", "library_name": "timm"}
    hub.repositories[REPO] = Repository(files, info=info)
    return hub


def entry_of(weights: Weights, **changes: Any) -> NetworkEntry:
    """EfficientNet-Lite0 in a zoo, with its weights somewhere."""
    entry = NetworkEntry(
        id="a" * 16,
        spec=ArchitectureSpec("timm", "tf_efficientnet_lite0", {}, "imagenet"),
        cost=NetworkCost(3_371_024, 383_907_552, 13_652_360, 1280),
        preprocessing=Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        classes=tuple(f"class {number}" for number in range(1000)),
        source_dataset="imagenet-1k",
        source_digest="",
        accuracy=0.748,
        license="Apache-2.0",
        weights=weights,
    )
    return replace(entry, **changes)


@pytest.fixture
def zoo_of(tmp_path: Path) -> Callable[..., Zoo]:
    """Make a zoo of one network: EfficientNet-Lite0, its weights somewhere."""

    def make(weights: Weights, **changes: Any) -> Zoo:
        zoo = Zoo(tmp_path / "zoo.h5", must_exist=False)
        zoo.store.add_all([NetworkRecord(entry_of(weights, **changes), None, b"")])
        return zoo

    return make
