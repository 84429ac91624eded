"""The conformance suite of backends.

An implementer derives from :class:`BackendContract` and supplies one fixture, the backend::

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def backend(self):
            return MyBackend()
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from nns.errors import UnknownNameError, UsageError, WeightsError
from nns.testing._data import tiny_split_arrays
from nns.testing._pretrained import PretrainedContract, changed, noise, survives_json
from nns.types import ArchitectureSpec, Preprocessing

if TYPE_CHECKING:
    from nns.backends import Backend, ProducedNetwork

HEAVY = ("h5py", "ofa", "timm", "torch", "torchvision")
"""What the module of a backend must not import: it is imported by every command, `nns --help` too."""

LOOKED_AT = 20
"""Architectures of a backend that the cheap tests look at."""


class BackendContract(PretrainedContract):
    """Tests that every backend must pass. Supply a fixture ``backend``.

    Attributes:
        pattern: Glob of the architecture that is built: the first that ``backend.offers(pattern)`` lists.
            Choose a small one.
        image_size: Side of the images in pixels.
        classes: Classes of the head.
        networks: Networks that ``backend.plan`` is asked for when the plan is carried out, for one epoch.
        module: Module whose import must stay light, by default the one that defines the backend's class.
    """

    pattern: ClassVar[str] = "*"
    image_size: ClassVar[int] = 32
    classes: ClassVar[int] = 3
    networks: ClassVar[int] = 1
    module: ClassVar[str | None] = None

    @pytest.fixture
    def spec(self, backend: Backend) -> ArchitectureSpec:
        """Choose the architecture that is built, with random weights."""
        return replace(backend.offers(self.pattern)[0], source="random")

    @pytest.fixture
    def preprocessing(self, backend: Backend, spec: ArchitectureSpec) -> Preprocessing:
        """Return its input."""
        return backend.preprocessing(spec, self.image_size)

    def test_offers(self, backend: Backend) -> None:
        """Offers are the same each time, of one backend, JSON-able, under names of their own."""
        offered = backend.offers()
        assert list(offered) == list(backend.offers())
        assert offered, "a backend offers at least one architecture"
        names = [spec.name for spec in offered]
        assert len(set(names)) == len(names), "two architectures have one name"
        for spec in offered[:LOOKED_AT]:
            assert spec.backend == backend.name
            assert survives_json(spec.config)
            assert spec in backend.offers(spec.name)

    def test_offers_nothing_of_that_name(self, backend: Backend) -> None:
        """A pattern that matches nothing is an error that names it."""
        with pytest.raises(UnknownNameError, match="no-such-architecture"):
            backend.offers("no-such-architecture-*")

    @pytest.mark.parametrize("networks", [0, 1, 2, 5])
    def test_plan(self, backend: Backend, networks: int) -> None:
        """A plan follows from its arguments, and yields at most as many networks as asked for, each once."""
        for seed in (0, 1, 2**31 - 1):
            plan = backend.plan(networks, self.image_size, seed)
            assert list(plan) == list(backend.plan(networks, self.image_size, seed))
            names = [spec.name for item in plan for spec in item.specs]
            assert len(set(names)) == len(names), "one architecture is planned twice"
            assert min(networks, 1) <= len(names) <= networks
            for item in plan:
                assert item.backend == backend.name
                assert 0 < item.image_size <= self.image_size
                assert item.seconds > 0
                assert survives_json(item.training.to_json())
                assert all(spec.backend == backend.name and survives_json(spec.config) for spec in item.specs)

    def test_describing(self, backend: Backend) -> None:
        """Preprocessing, topology and licence are there for every architecture."""
        offered = backend.offers()[:LOOKED_AT]
        assert len({len(backend.topology(spec)) for spec in offered}) == 1, "topologies of several lengths"
        for spec in offered:
            preprocessing = backend.preprocessing(spec, self.image_size)
            assert preprocessing.size > 0
            assert len(preprocessing.mean) == len(preprocessing.std) == 3
            assert all(value > 0 for value in preprocessing.std)
            assert backend.preprocessing(spec).size > 0
            assert all(math.isfinite(value) for value in backend.topology(spec))
            assert backend.license(spec).strip()

    def test_build(self, backend: Backend, spec: ArchitectureSpec) -> None:
        """Random weights follow from the seed alone."""
        first, again, other = (backend.build(spec, self.classes, seed) for seed in (3, 3, 4))
        assert not changed(first, again)
        assert changed(first, other)

    def test_build_refuses(self, backend: Backend, spec: ArchitectureSpec) -> None:
        """An architecture that is none of this backend's is the caller's mistake."""
        with pytest.raises(UsageError):
            backend.build(replace(spec, name="no-such-architecture", config={"no": "such"}), self.classes)

    def test_global_generators(self, backend: Backend, spec: ArchitectureSpec) -> None:
        """The process's own random numbers go on as if nothing had been built."""
        import torch

        torch_before, numpy_before = torch.get_rng_state(), str(np.random.get_state())
        backend.replace_head(backend.build(spec, self.classes, seed=1), self.classes, seed=2)
        assert torch.equal(torch_before, torch.get_rng_state())
        assert numpy_before == str(np.random.get_state())

    def test_forward(self, backend: Backend, spec: ArchitectureSpec, preprocessing: Preprocessing) -> None:
        """Logits are (n, classes); the head makes them from the features, (n, feature_dim)."""
        import torch
        from torch import nn

        from nns.backends import head_of

        module = backend.build(spec, self.classes).eval()
        images = noise(2, preprocessing)
        with torch.inference_mode():
            logits = module(images)
            features = backend.features(module, images)
            head: Any = head_of(module)
            assert head is not None, "no linear layer: name the head by nns.plugins.name_head(module, 'name.of.layer')"
            assert logits.shape == (2, self.classes)
            assert features.dtype == torch.float32
            assert features.shape == (2, head.weight.shape[1])
            assert head.weight.shape[0] == self.classes
            if isinstance(head, nn.Linear):  # what stands behind another head is the network's own business
                torch.testing.assert_close(head(features), logits)

    def test_replace_head(self, backend: Backend, spec: ArchitectureSpec, preprocessing: Preprocessing) -> None:
        """A new head has the width asked for and follows from the seed; all else stays as it was."""
        import torch

        module = backend.build(spec, self.classes, seed=1).eval()
        images = noise(2, preprocessing)
        for classes in (self.classes, self.classes + 4):
            before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
            with torch.inference_mode():
                features = backend.features(module, images)
            module = backend.replace_head(module, classes, seed=classes).eval()
            with torch.inference_mode():
                assert module(images).shape == (2, classes)
                assert torch.equal(features, backend.features(module, images))
            differing = changed(before, module)
            head = (features.shape[1] + 1) * classes
            assert 0 < sum(module.state_dict()[name].numel() for name in differing) <= head, sorted(differing)
            assert not changed(
                module, backend.replace_head(backend.build(spec, self.classes, seed=1), classes, seed=classes)
            )

    def test_load(self, backend: Backend, spec: ArchitectureSpec, preprocessing: Preprocessing) -> None:
        """Weights that go out come in: equal logits, bit for bit."""
        import torch

        module = backend.build(spec, self.classes, seed=5)
        generator = torch.Generator().manual_seed(0)
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():  # as training would, batch-norm statistics too
                tensor += 0.01 * torch.rand(tensor.shape, generator=generator)
        images = noise(2, preprocessing)
        loaded = backend.load(spec, module.state_dict(), self.classes)
        assert not loaded.training
        with torch.inference_mode():
            assert torch.equal(module.eval()(images), loaded(images))

    def test_load_refuses(self, backend: Backend, spec: ArchitectureSpec) -> None:
        """Weights with other shapes, too few and too many are told apart from those that fit."""
        import torch

        state = backend.build(spec, self.classes).state_dict()
        first = next(iter(state))
        with pytest.raises(WeightsError):
            backend.load(spec, state, self.classes + 1)
        with pytest.raises(WeightsError):
            backend.load(spec, {name: tensor for name, tensor in state.items() if name != first}, self.classes)
        with pytest.raises(WeightsError):
            backend.load(spec, {**state, "no_such_tensor": torch.zeros(1)}, self.classes)

    def test_counts(self, backend: Backend, spec: ArchitectureSpec, preprocessing: Preprocessing) -> None:
        """A count of the body plus the formula of the head is the exact count, whatever the classes."""
        from nns.networks import count_cost

        costs = set()
        for classes in (2, 5, 11):
            module = backend.build(spec, classes)
            cost = count_cost(backend, module, preprocessing, classes)
            assert cost.params(classes) == sum(p.numel() for p in module.parameters())
            replaced = backend.replace_head(module, classes + 1)
            assert cost.params(classes + 1) == sum(p.numel() for p in replaced.parameters())
            assert cost.body_macs > 0
            costs.add(cost)
        assert len(costs) == 1, "the body depends on the head"

    def test_fingerprint(self, backend: Backend, spec: ArchitectureSpec, preprocessing: Preprocessing) -> None:
        """A fingerprint is finite, of the expected shapes, and the same each time."""
        from nns.networks import count_cost
        from nns.networks.fingerprints import GRAPH_DIM, REFERENCE_COUNT, fingerprint_network

        module = backend.build(spec, self.classes, seed=1)
        cost = count_cost(backend, module, preprocessing, self.classes)
        first, again = (fingerprint_network(backend, spec, module, preprocessing, cost) for _ in range(2))
        for part in ("topology", "functional", "graph", "kernel"):
            assert np.isfinite(getattr(first, part)).all(), part
            assert np.array_equal(getattr(first, part), getattr(again, part)), part
        assert first.topology.shape == (len(backend.topology(spec)),)
        assert first.functional.shape == (cost.feature_dim,)
        assert first.graph.shape == (GRAPH_DIM,)
        assert first.kernel.shape == (REFERENCE_COUNT, REFERENCE_COUNT)
        assert np.abs(first.kernel - first.kernel.T).max() < 1e-6
        assert math.isclose(float(np.linalg.norm(first.kernel)), 1.0, abs_tol=1e-5)

    def test_import_is_light(self, backend: Backend) -> None:
        """Importing the module of the backend loads none of the libraries that take seconds."""
        module = self.module or type(backend).__module__
        code = f"import sys, importlib; importlib.import_module({module!r}); print(*{{*{HEAVY!r}}} & {{*sys.modules}})"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
        )
        assert found.returncode == 0, found.stderr
        assert not found.stdout.split(), f"importing {module} imports {found.stdout.split()}"

    def test_produce(self, backend: Backend) -> None:
        """A plan is carried out: the networks it names, in order, the same each time with one seed."""
        import torch

        for item in backend.plan(self.networks, self.image_size, seed=1):
            before = torch.get_rng_state()
            first, again = (self._produce(backend, item) for _ in range(2))
            assert torch.equal(before, torch.get_rng_state())
            assert tuple(network.spec for network in first) == item.specs
            for network, same in zip(first, again, strict=True):
                preprocessing = backend.preprocessing(network.spec, item.image_size)
                assert not network.module.training
                assert network.module(noise(2, preprocessing)).shape == (2, self.classes)
                assert 0 <= network.accuracy <= 1
                assert survives_json(network.provenance)
                assert network.accuracy == same.accuracy
                assert not changed(network.module, same.module)

    def test_supernets(self, backend: Backend) -> None:
        """What is cut from a stored supernet is the same whatever was cut before; backends without one pass.

        A supernet takes the device to train on, and comes back on the CPU.
        """
        for item in backend.plan(self.networks, self.image_size, seed=1):
            for spec in item.specs:
                assert backend.supernet_of(spec) == item.supernet
            if item.supernet is None:
                continue
            data = tiny_split_arrays(self.classes, per_class=4, size=item.image_size)
            work = replace(item, training=replace(item.training, epochs=1))
            trained = backend.train_supernet(work, data, seed=1, device="cpu")
            assert {tensor.device.type for tensor in trained.module.state_dict().values()} == {"cpu"}
            assert trained.spec == item.supernet
            assert survives_json(trained.provenance)
            state = {name: tensor.clone() for name, tensor in trained.module.state_dict().items()}
            loaded = backend.load_supernet(trained.spec, state, self.classes)
            together = list(backend.cut(work, loaded, data))
            assert tuple(network.spec for network in together) == item.specs
            for spec, network in reversed(list(zip(item.specs, together, strict=True))):
                (alone,) = backend.cut(replace(work, specs=(spec,)), loaded, data)
                assert alone.accuracy == network.accuracy
                assert not changed(alone.module, network.module)

    def _produce(self, backend: Backend, item: object) -> list[ProducedNetwork]:
        from nns.backends import WorkItem
        from nns.building.worker import CurveTrainer

        assert isinstance(item, WorkItem)
        work = replace(item, training=replace(item.training, epochs=1))
        data = tiny_split_arrays(self.classes, per_class=4, size=item.image_size)
        return list(backend.produce(work, data, CurveTrainer(), seed=1))
