from __future__ import annotations

import pickle
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import ResNet18_Weights, resnet18

from nns.data.extractors import RESNET18_DIM, RESNET18_EXTRACTOR, RESNET18_SIZE, ResNet18Extractor
from nns.data.extractors.resnet18 import DOWNLOAD, RESNET18_VARIABLE
from nns.errors import WeightsError

PUBLISHED = "resnet18-f37072fd.pth"
"""The file that torchvision's enumeration of weights names."""


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 3, RESNET18_SIZE, RESNET18_SIZE), dtype=np.uint8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return resnet18(weights=None).eval()


@pytest.fixture
def weights(tmp_path, network, monkeypatch):
    path = tmp_path / "resnet18.pth"
    torch.save(network.state_dict(), path)
    monkeypatch.setenv(RESNET18_VARIABLE, str(path))
    return path


@pytest.fixture
def unset(tmp_path, monkeypatch):
    """No file is named, and the cache of torch.hub is empty."""
    monkeypatch.delenv(RESNET18_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_features_are_what_goes_into_the_classifier_of_torchvision(weights, network):
    batch = torch.from_numpy(images(3))
    seen = []
    hook = network.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        network(ResNet18_Weights.IMAGENET1K_V1.transforms(crop_size=RESNET18_SIZE, resize_size=RESNET18_SIZE)(batch))
    hook.remove()
    found = ResNet18Extractor(batch_size=2).extract(images(3))
    assert (found.shape, found.dtype) == ((3, RESNET18_DIM), np.float32)
    np.testing.assert_allclose(found, seen[0].numpy(), atol=1e-5)


def test_safetensors(weights, network, monkeypatch, tmp_path):
    expected = ResNet18Extractor().extract(images(1))
    weights.unlink()
    save_file(network.state_dict(), tmp_path / "r.safetensors")
    monkeypatch.setenv(RESNET18_VARIABLE, str(tmp_path / "r.safetensors"))
    np.testing.assert_array_equal(ResNet18Extractor().extract(images(1)), expected)


def test_progress_and_no_images(weights):
    told = []
    extractor = ResNet18Extractor(batch_size=2)
    extractor.extract(images(3), lambda done, total: told.append((done, total)))
    assert told == [(2, 3), (3, 3)]
    assert extractor.extract(images(0)).shape == (0, RESNET18_DIM)


def test_its_name_tells_the_size():
    assert ResNet18Extractor.name == RESNET18_EXTRACTOR == f"resnet18@{ResNet18Extractor.image_size}"


def test_the_cache_of_torch_hub(unset, network):
    torch.save(network.state_dict(), unset / PUBLISHED)
    found = ResNet18Extractor().extract(images(1))
    assert found.shape == (1, RESNET18_DIM)


def test_no_network_connection_is_one_line(unset, monkeypatch, capsys):
    def fail(*args, **more):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setenv(RESNET18_VARIABLE, DOWNLOAD)  # without it nobody would connect, see test_no_connection.py
    with pytest.raises(WeightsError, match=rf"no route to host.*set {RESNET18_VARIABLE} to a file") as told:
        ResNet18Extractor().extract(images(1))
    assert "\n" not in str(told.value)
    out, err = capsys.readouterr()
    assert out == ""  # stdout is for results
    assert "Downloading" in err


def missing(path, network):
    path.unlink()


def cut(path, network):
    path.write_bytes(path.read_bytes()[:5000])


def of_another_network(path, network):
    torch.save({"conv1.weight": torch.zeros(1)}, path)


def no_dict(path, network):
    torch.save([1], path)


@pytest.mark.parametrize("damage", [missing, cut, of_another_network, no_dict])
def test_files_that_hold_no_weights(damage, weights, network):
    damage(weights, network)
    with pytest.raises(WeightsError, match=rf"{RESNET18_VARIABLE}=.*gives no weights") as told:
        ResNet18Extractor().extract(images(1))
    assert "\n" not in str(told.value)


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("cached", [False, True])
def test_code_in_the_file_does_not_run(cached, weights, unset, monkeypatch, tmp_path):
    payload = Payload(str(tmp_path / "ran"))
    pickle.loads(pickle.dumps(payload)).close()
    (tmp_path / "ran").unlink()
    torch.save({"conv1.weight": payload}, unset / PUBLISHED if cached else weights)
    if not cached:
        monkeypatch.setenv(RESNET18_VARIABLE, str(weights))
    with pytest.raises(WeightsError):
        ResNet18Extractor().extract(images(1))
    assert not (tmp_path / "ran").exists()
