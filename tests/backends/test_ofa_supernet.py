from __future__ import annotations

import os
from dataclasses import replace
from urllib.error import URLError

import pytest
import torch

from nns.backends.batches import as_tensors
from nns.backends.ofa import OfaBackend, space, supernet
from nns.backends.ofa.reach import crop_kernels_to_reach
from nns.backends.ofa.training import SupernetRecipe, train_supernet
from nns.errors import UnknownNameError, WeightsError
from nns.testing import tiny_split_arrays
from nns.types import Preprocessing

SIZE = 32
PREPROCESSING = Preprocessing(SIZE)
PUBLISHED = supernet.PRETRAINED[1.0]


@pytest.fixture(scope="module")
def trained():
    """A supernet, the data it was trained on, and its losses."""
    net = supernet.build_supernet(0.25, 3, seed=0)
    data = tiny_split_arrays(per_class=16, size=SIZE)
    losses = []
    recipe = SupernetRecipe(epochs=2, batch_size=8)
    train_supernet(net, data, PREPROCESSING, recipe, seed=0, on_epoch=lambda _, loss: losses.append(loss))
    return net, data, losses


def batch_norms(module):
    return {name: t.clone() for name, t in module.state_dict().items() if "running_" in name}


def test_training_reduces_the_loss(trained):
    net, _, losses = trained
    assert not net.training
    assert len(losses) == 2
    assert losses[1] < losses[0] < 3


def test_training_leaves_layers_as_they_are_and_repeats(trained):
    net, data, _ = trained
    again = supernet.build_supernet(0.25, 3, seed=0)
    train_supernet(again, data, PREPROCESSING, SupernetRecipe(epochs=2, batch_size=8), seed=0)
    other = again.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in net.state_dict().items())
    own = {type(layer).__name__ for layer in net.modules() if "forward" in vars(layer)}
    assert own == {"DynamicSeparableConv2d"}  # those of crop_kernels_to_reach


def test_the_device_reaches_the_training(monkeypatch):
    told = []
    monkeypatch.setattr("nns.backends.ofa.training.train_supernet", lambda *_, device: told.append(device))
    backend = OfaBackend(0.25)
    (item,) = backend.plan(1, SIZE, seed=0)
    data = tiny_split_arrays(size=SIZE)
    backend.train_supernet(item, data, 0, device="cuda")
    backend.train_supernet(item, data, 0)
    assert told == ["cuda", "cpu"]


def test_elsewhere_than_on_the_cpu_convolutions_are_those_of_torch(trained, monkeypatch):
    """``cpu:0`` stands for another device: it is one in all but its name."""
    _, data, losses = trained
    monkeypatch.setattr("nns.backends.ofa.training.quick_convolutions", lambda *_: pytest.fail("meant for the CPU"))
    net, found = supernet.build_supernet(0.25, 3, seed=0), []
    recipe = SupernetRecipe(epochs=2, batch_size=8)
    train_supernet(net, data, PREPROCESSING, recipe, 0, lambda _, loss: found.append(loss), device="cpu:0")
    assert found == pytest.approx(losses, rel=0.05)
    assert not net.training


@pytest.mark.gpu
def test_a_supernet_trains_on_cuda_and_comes_back():
    backend = OfaBackend(0.25)
    (item,) = backend.plan(1, SIZE, seed=0)
    item = replace(item, settings={"epochs": 2, "batch_size": 8})
    data = tiny_split_arrays(per_class=16, size=SIZE)
    torch.cuda.reset_peak_memory_stats()
    there, here = (backend.train_supernet(item, data, 0, device=device) for device in ("cuda", "cpu"))
    assert torch.cuda.max_memory_allocated() > 0
    assert {tensor.device.type for tensor in there.module.state_dict().values()} == {"cpu"}
    assert 0 <= there.accuracy <= 1
    classifier = [each.module.classifier.linear.weight for each in (there, here)]
    assert not torch.equal(*classifier)  # trained elsewhere
    torch.testing.assert_close(*classifier, atol=0.05, rtol=0.5)


def test_a_cut_subnet_is_the_active_one_of_its_supernet(trained):
    net, _, _ = trained
    spec = space.subnet_spec(0.25, [3, 5, 7, 5] * 5, [3, 4, 6, 4] * 5, [2, 3, 4, 3, 2])
    module = supernet.cut(net, spec).eval()
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    supernet.activate(net, spec)
    with torch.inference_mode():
        torch.testing.assert_close(module(images), net(images))


def test_recalibration_changes_batch_norm_statistics_alone(trained):
    net, data, _ = trained
    module = supernet.cut(net, space.uniform_spec(0.25, 3, 3, 2))
    before, statistics = {n: t.clone() for n, t in module.state_dict().items()}, batch_norms(module)
    images, _ = as_tensors(data.train, PREPROCESSING)
    calibrated = supernet.recalibrate(module, images.split(16))
    changed = {n for n, t in calibrated.state_dict().items() if not torch.equal(t, before[n])}
    assert changed
    assert changed <= statistics.keys()
    # the statistics of the first layer are those of the data, exactly computable
    with torch.inference_mode():
        mean = calibrated.first_conv.conv(images).mean((0, 2, 3))
    torch.testing.assert_close(calibrated.first_conv.bn.running_mean, mean, atol=1e-4, rtol=1e-3)


def test_kernels_cut_to_their_reach_compute_the_same():
    """crop_kernels_to_reach leaves out what only meets padding: outputs and gradients stay."""
    images = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    results = []
    for cropped in (False, True):
        net = supernet.build_supernet(0.25, 3, seed=0).train()
        if cropped:
            crop_kernels_to_reach(net)
        net.set_max_net()
        logits = net(images)
        logits.square().sum().backward()
        results.append((logits.detach(), {name: p.grad for name, p in net.named_parameters() if p.grad is not None}))
    (plain, gradients), (logits, cropped_gradients) = results
    torch.testing.assert_close(logits, plain, atol=1e-4, rtol=1e-4)
    assert gradients.keys() == cropped_gradients.keys()
    for name, gradient in gradients.items():
        scale = float(gradient.abs().max()) + 1e-6
        torch.testing.assert_close(cropped_gradients[name] / scale, gradient / scale, atol=1e-3, rtol=1e-2)


def published_names(state):
    """Name tensors as the first version of ofa did, with which the published supernets were saved."""
    return {
        name.replace(".conv.", ".mobile_inverted_conv.", 1) if name.startswith("blocks.") else name: tensor
        for name, tensor in state.items()
    }


def test_published_supernets_are_read_from_a_folder(tmp_path, monkeypatch):
    original = supernet.build_supernet(1.0, 1000, seed=9)
    torch.save({"state_dict": published_names(original.state_dict())}, tmp_path / PUBLISHED)
    monkeypatch.setenv(supernet.OFA_DIR_VARIABLE, str(tmp_path))
    backend = OfaBackend()
    spec = space.uniform_spec(1.0, 3, 3, 2, source="ofa_net")
    module = backend.build(spec, 4, seed=0).eval()
    images = torch.randn(1, 3, SIZE, SIZE)
    with torch.inference_mode():
        expected = backend.features(supernet.cut(original, spec).eval(), images)
        assert torch.equal(backend.features(module, images), expected)
        assert module(images).shape == (1, 4)
    assert backend.license(spec) == "MIT"


def test_a_subnet_saved_by_the_first_ofa_can_be_loaded():
    backend = OfaBackend()
    spec = space.uniform_spec(0.25, 3, 3, 2)
    state = backend.build(spec, 3, seed=4).state_dict()
    loaded = backend.load(spec, published_names(state), 3).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in state.items())


def test_a_folder_without_the_supernet(tmp_path, monkeypatch):
    monkeypatch.setenv(supernet.OFA_DIR_VARIABLE, str(tmp_path))
    with pytest.raises(WeightsError, match=f"{PUBLISHED}.*{supernet.OFA_DIR_VARIABLE}"):
        supernet.load_pretrained_supernet(1.0)


class Dangerous:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"state_dict": {"a": torch.zeros(1)}}, Dangerous(), [1]])
def test_files_that_are_no_supernet(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / PUBLISHED)
    monkeypatch.setenv(supernet.OFA_DIR_VARIABLE, str(tmp_path))
    with pytest.raises(WeightsError, match=PUBLISHED):
        supernet.load_pretrained_supernet(1.0)
    assert not (tmp_path / "executed").exists()


def test_no_connection(tmp_path, monkeypatch, capfd):
    def refuse(*_, **__):
        raise URLError("no route to host")

    monkeypatch.delenv(supernet.OFA_DIR_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    with pytest.raises(WeightsError) as caught:
        OfaBackend().build(space.uniform_spec(1.2, 3, 3, 2, source="ofa_net"), 3)
    message = str(caught.value)
    assert "no route to host" in message
    assert supernet.PRETRAINED[1.2] in message
    assert supernet.OFA_DIR_VARIABLE in message
    assert "\n" not in message
    assert "Traceback" not in capfd.readouterr().err


def test_widths_and_sources_that_are_not_published():
    backend = OfaBackend()
    with pytest.raises(WeightsError, match=r"width 0\.5.*1\.0, 1\.2"):
        backend.build(space.uniform_spec(0.5, 3, 3, 2, source="ofa_net"), 3)
    with pytest.raises(UnknownNameError, match="did you mean 'ofa_net'"):
        backend.build(space.uniform_spec(1.0, 3, 3, 2, source="ofanet"), 3)
