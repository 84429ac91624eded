"""Building: resumes, repeats, survives failures."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from nns_example import ExampleBackend
from safetensors.torch import load

from nns import DatasetError, Zoo, ZooError, build_zoo, load_plugins
from nns.backends import ProducedNetwork, WorkItem
from nns.backends.ofa import OfaBackend
from nns.building import SearchSpace, default_workers
from nns.building.pairs import PairPlan
from nns.building.plan import plan_architectures
from nns.building.preparing import named_datasets
from nns.building.worker import CurveTrainer
from nns.errors import UnknownNameError
from nns.finetuning._run import Run
from nns.plugins import Registry
from nns.stores import HDF5Store
from nns.types import Training
from nns.zoo import verify


def registry_of(backend):
    return Registry((), (), {"backend": {backend.name: lambda: backend}})


class Faulty(ExampleBackend):
    """Cannot build networks of these depths."""

    def __init__(self, *depths):
        self.depths = depths

    def build(self, spec, classes, seed=0):
        if spec.config["depth"] in self.depths:
            raise RuntimeError("out of memory")
        return super().build(spec, classes, seed)


class Cuts(Faulty):
    """Two networks come out of one work item: cut from a supernet, which is a deeper network."""

    def plan(self, networks, image_size, seed):
        specs = (self._spec(8, 3), self._spec(8, 4))
        return [WorkItem(self.name, specs, 16, Training(lr=1e-3), supernet=self._spec(8, 5))]

    def train_supernet(self, item, data, seed):
        (largest,) = super().produce(replace(item, specs=(item.supernet,), supernet=None), data, CurveTrainer(), seed)
        return largest

    def load_supernet(self, spec, state, classes):
        return self.load(spec, state, classes)

    def cut(self, item, supernet, data):
        for spec in item.specs:
            yield ProducedNetwork(spec, self.build(spec, len(data.classes)), 0.5, {})


def test_the_report_and_the_zoo(plain_zoo):
    report = plain_zoo.report
    assert (report.networks, report.added, report.datasets, report.failed, report.interrupted) == (4, 4, 2, (), False)
    with Zoo(plain_zoo.path) as zoo:
        assert zoo.store.digest() == report.digest
        assert verify(zoo.store) == ()
        assert zoo.info().by_dataset == {"a": 2, "b": 2}
        for entry in zoo.store.entries():
            assert entry.classes == ("class-0", "class-1")
            assert entry.preprocessing.size == 16
            assert entry.provenance.epochs == 1
        assert [(d.name, d.images, len(d.features)) for d in zoo.datasets()] == [("a", 12, 12), ("b", 12, 12)]
    assert [path.name for path in plain_zoo.path.parent.iterdir() if "zoo" in path.name] == ["zoo.h5"]


def test_a_second_run_adds_nothing(plain_zoo, tmp_path):
    path, kinds = plain_zoo.copy(tmp_path), []

    def note(event):
        kinds.append((event.kind, event.done))

    report = build_zoo(path, plain_zoo.settings, workers=0, on_event=note)
    assert (report.added, report.networks, report.digest) == (0, 4, plain_zoo.report.digest)
    assert kinds == [("dataset", 0), ("dataset", 0), *[("architecture", 0)] * 9, ("plan", 4), ("merge", 4)]


@pytest.mark.parametrize("strategy", ["random", "all"])
def test_no_architecture_is_counted_where_costs_do_not_matter(plain_zoo, tmp_path, strategy):
    kinds = set()
    settings = plain_zoo.with_(strategy=strategy, backends=("example:plain-w8-*",))
    build_zoo(tmp_path / "zoo.h5", settings, workers=0, on_event=lambda event: kinds.add(event.kind))
    assert kinds == {"dataset", "plan", "start", "network", "merge"}


def test_a_larger_build_goes_on_from_a_smaller_one(plain_zoo, tmp_path):
    path = tmp_path / "zoo.h5"
    first = build_zoo(path, plain_zoo.with_(networks=2), workers=0)
    second = build_zoo(path, plain_zoo.settings, workers=0)
    assert (first.added, second.added, second.digest) == (2, 2, plain_zoo.report.digest)


def test_interrupted_and_resumed_it_is_the_same_zoo(plain_zoo, tmp_path):
    path, done = tmp_path / "zoo.h5", []

    def interrupt(event):
        if event.kind == "network":
            done.append(event.done)
            if event.done == 3:
                raise KeyboardInterrupt

    first = build_zoo(path, plain_zoo.settings, workers=0, on_event=interrupt)
    assert (first.interrupted, first.networks, done) == (True, 3, [1, 2, 3])
    second = build_zoo(path, plain_zoo.settings, workers=0, on_event=interrupt)
    assert (second.interrupted, second.added, second.digest) == (False, 1, plain_zoo.report.digest)


def test_a_half_trained_network_does_not_enter_the_zoo(plain_zoo, tmp_path, monkeypatch):
    def interrupt(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "train_epoch", interrupt)
    report = build_zoo(tmp_path / "zoo.h5", plain_zoo.settings, workers=0)
    assert (report.interrupted, report.networks) == (True, 0)


@pytest.fixture(scope="module")
def wide(plain_zoo):
    """Settings of a build in several rounds, with subnets, fine-tuned networks, transfers and networks given up."""
    spaces = {"example": SearchSpace(epochs=3), "ofa": SearchSpace(candidates=3)}
    return plain_zoo.with_(backends=("example", "ofa"), networks=14, round=3, transfers=3, spaces=spaces)


@pytest.fixture(scope="module")
def wide_zoo(wide, tmp_path_factory):
    path = tmp_path_factory.mktemp("wide") / "zoo.h5"
    return path, build_zoo(path, wide, registry=narrow(), workers=0)


def narrow():
    """The installed plugins, but for small supernets."""
    registry = load_plugins()
    backends = {name: partial(registry.backend, name) for name in registry.names("backend")}
    return Registry((), (), {"backend": {**backends, "ofa": partial(OfaBackend, 0.25)}})


def test_everything_at_once(wide_zoo):
    path, report = wide_zoo
    assert (report.failed, report.networks, report.transfers) == ((), 14, 3)
    assert not path.with_name("zoo.h5.images").exists()
    with Zoo(path) as zoo:
        assert verify(zoo.store) == ()
        entries = {entry.id: entry for entry in zoo.store.entries()}
        assert {entry.spec.backend for entry in entries.values()} == {"example", "ofa"}
        for record in zoo.store.transfers():
            assert record.dataset != entries[record.network_id].source_dataset
            assert 0 <= record.accuracy <= 1
            assert record.recipe["epochs"] == record.epochs == 3
        for entry in entries.values():
            if entry.spec.backend == "example":
                assert len(entry.provenance.val_curve) == entry.provenance.trained_epochs <= 3


def test_interrupted_again_and_again_it_is_the_same_zoo(wide, wide_zoo, tmp_path):
    path, runs = tmp_path / "zoo.h5", 0

    def interrupt(event):
        if event.kind in ("network", "transfer"):
            raise KeyboardInterrupt

    while (report := build_zoo(path, wide, registry=narrow(), workers=0, on_event=interrupt)).interrupted:
        runs += 1
        assert runs < 30
    assert runs >= 10
    assert report.digest == wide_zoo[1].digest


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_number_of_workers_does_not_matter(plain_zoo, tmp_path, workers):
    settings = plain_zoo.with_(networks=14, round=3, transfers=3)
    first = build_zoo(tmp_path / "here.h5", settings, workers=0)
    report = build_zoo(tmp_path / "zoo.h5", settings, workers=workers)
    assert (report.failed, report.digest) == ((), first.digest)


def test_a_dataset_that_disappears_meanwhile(plain_zoo, tmp_path):
    data = [
        shutil.copytree(folder, tmp_path / name) for folder, name in zip(plain_zoo.settings.data, "ab", strict=True)
    ]
    path, settings = tmp_path / "zoo.h5", plain_zoo.with_(data=tuple(map(str, data)), networks=6, epochs=1)

    def remove(event):
        if event.kind == "plan":
            shutil.rmtree(data[0])

    # in a process: this one keeps the bytes that it has hashed, and would not miss the files
    report = build_zoo(path, settings, workers=1, on_event=remove)
    assert {name for name, _, _ in report.failed} == {"a"}
    assert all("DatasetError" in reason for _, _, reason in report.failed)
    with Zoo(path) as zoo:
        assert {entry.source_dataset for entry in zoo.store.entries()} == {"b"}
    shutil.copytree(plain_zoo.settings.data[0], data[0])
    again = build_zoo(path, settings, workers=0)
    assert (again.failed, again.networks >= 6) == ((), True)


def test_a_zoo_that_cannot_be_written_ends_the_build(plain_zoo, tmp_path, monkeypatch):
    path, added = tmp_path / "zoo.h5", []
    add = HDF5Store.add_network

    def full(store, record):
        if len(added) == 2:
            raise ZooError(f"{path}.journal cannot be written: No space left on device")
        added.append(record.entry.id)
        add(store, record)

    monkeypatch.setattr(HDF5Store, "add_network", full)
    with pytest.raises(ZooError, match="No space left"):
        build_zoo(path, plain_zoo.settings, workers=0)
    monkeypatch.undo()
    with HDF5Store(path) as store:
        assert set(store.ids()) == set(added)
    report = build_zoo(path, plain_zoo.settings, workers=0)
    assert (report.added, report.digest) == (2, plain_zoo.report.digest)


def test_a_network_that_falls_behind_is_given_up(plain_zoo, tmp_path):
    """It must have the median of the networks that are no larger, of earlier rounds and of the same dataset."""
    registry, path = load_plugins(), tmp_path / "zoo.h5"
    settings = plain_zoo.with_(epochs=6, networks=9, data=plain_zoo.settings.data[:1], halving=False)
    build_zoo(path, settings, registry=registry, workers=0)
    with HDF5Store(path) as store:
        works = plan_architectures(settings, registry)
        plan = PairPlan(settings, registry, named_datasets(settings.data), works, store)
        assert plan.next_items() == []
        known = plan.rounds.known(len(plan.rounds.rounds))
        assert len(known) == 9
        assert plan.stop_below(known, (0, 0)) == {}
        plan.settings = replace(settings, halving=True)
        by_size = sorted(range(9), key=lambda a: plan.costs[a, 0])
        curves = [store.entry(plan.ids[0, a]).provenance.val_curve for a in by_size]
        assert plan.stop_below(known, (0, by_size[1])) == {}  # too few to compare with
        limits = plan.stop_below(known, (0, by_size[-1]))
        assert limits == {n: pytest.approx(np.median([curve[n - 1] for curve in curves]), abs=1e-6) for n in (2, 4)}


def test_a_seed_gives_another_zoo_and_other_ids(plain_zoo, tmp_path):
    report = build_zoo(tmp_path / "zoo.h5", plain_zoo.with_(seed=1), workers=0)
    assert report.digest != plain_zoo.report.digest
    with Zoo(tmp_path / "zoo.h5") as zoo, Zoo(plain_zoo.path) as other:
        assert not set(zoo.store.ids()) & set(other.store.ids())


def test_a_failing_item_is_reported_and_tried_again(plain_zoo, tmp_path):
    path, failed = tmp_path / "zoo.h5", []
    settings = plain_zoo.with_(strategy="random")

    def note(event):
        if event.kind == "failed":
            failed.append((event.item.dataset_name, event.message))

    report = build_zoo(path, settings, registry=registry_of(Faulty(3, 5)), workers=0, on_event=note)
    assert failed
    assert report.failed == tuple((name, "example", "RuntimeError: out of memory") for name, _ in failed)
    assert report.networks == report.added == 4 - len(failed)
    again = build_zoo(path, settings, workers=0)
    clean = build_zoo(tmp_path / "clean.h5", settings, workers=0)
    assert (again.failed, again.added, again.digest) == ((), len(failed), clean.digest)


def test_an_architecture_that_cannot_be_built_does_not_compete(plain_zoo, tmp_path):
    report = build_zoo(tmp_path / "zoo.h5", plain_zoo.settings, registry=registry_of(Faulty(3, 5)), workers=0)
    assert report.networks == 4
    reasons = {reason for _, _, reason in report.failed}
    assert {dataset for dataset, _, _ in report.failed} == {"all datasets"}
    assert all("cannot be built: RuntimeError: out of memory" in reason for reason in reasons)
    with Zoo(tmp_path / "zoo.h5") as zoo:
        assert {entry.spec.config["depth"] for entry in zoo.store.entries()} == {4}


def test_an_item_that_fails_half_way_keeps_its_finished_networks(plain_zoo, tmp_path):
    path, done = tmp_path / "zoo.h5", []
    settings = plain_zoo.with_(strategy="all")
    report = build_zoo(path, settings, registry=registry_of(Cuts(4)), workers=0)
    assert (len(report.failed), report.added, report.networks) == (2, 2, 2)
    again = build_zoo(
        path,
        settings,
        registry=registry_of(Cuts()),
        workers=0,
        on_event=lambda event: done.append((event.kind, event.done)),
    )
    assert (again.failed, again.added, again.networks) == ((), 2, 4)
    assert [number for kind, number in done if kind in ("plan", "merge")] == [2, 4]


def test_one_set_of_images_is_given_once(plain_zoo, tmp_path):
    copy = shutil.copytree(plain_zoo.settings.data[0], tmp_path / "copy")
    settings = plain_zoo.with_(data=(plain_zoo.settings.data[0], str(copy)))
    with pytest.raises(DatasetError, match="copy' holds the same images as"):
        build_zoo(tmp_path / "zoo.h5", settings, workers=0)
    assert not (tmp_path / "zoo.h5").exists()


def test_no_dataset_and_no_zoo(plain_zoo, tmp_path):
    with pytest.raises(DatasetError, match="give `data` FOLDER"):
        build_zoo(tmp_path / "zoo.h5", plain_zoo.with_(data=()), workers=0)
    (tmp_path / "zoo.h5").write_text("something else")
    with pytest.raises(ZooError, match=r"zoo\.h5"):
        build_zoo(tmp_path / "zoo.h5", plain_zoo.settings, workers=0)
    assert (tmp_path / "zoo.h5").read_text() == "something else"


def test_default_workers_share_the_cores():
    assert default_workers() >= 1
    assert default_workers(10_000) == 1


def test_a_supernet_is_stored_once_with_its_subnets_as_slices(plain_zoo, tmp_path):
    path = tmp_path / "zoo.h5"
    settings = plain_zoo.with_(data=plain_zoo.settings.data[:1], backends=("ofa",), networks=3, image_size=32)
    registry = registry_of(OfaBackend(width=0.25))
    report = build_zoo(path, settings, registry=registry, workers=0)
    assert report.failed == ()
    with Zoo(path) as zoo:
        (supernet,) = zoo.store.supernets()
        assert len(zoo) == 3
        for entry in zoo.store.entries():
            assert entry.provenance.base == supernet.id
            assert entry.cost.body_params < supernet.cost.body_params
            state = load(zoo.store.weights(entry.id))
            assert registry.backend("ofa").load(entry.spec, state, 2)
        packing = zoo.store.packing()
        assert packing.codecs["slice"][0] > 50
        assert packing.ratio > 1.5
        assert verify(zoo.store) == ()
    again = build_zoo(path, settings, registry=registry, workers=0)
    assert (again.added, again.digest) == (0, report.digest)


class OnDevice(Cuts):
    """Notes where its supernet is to be trained."""

    def train_supernet(self, item, data, seed, *, device="cpu"):
        self.device = device
        return super().train_supernet(item, data, seed)


class Strict(Cuts):
    """Written before there were devices: a keyword too many is an error."""

    def train_supernet(self, item, data, seed):
        self.device = "not told"
        return super().train_supernet(item, data, seed)


@pytest.mark.parametrize(
    ("backend", "device", "told"),
    [(OnDevice, "cuda", "cuda"), (Strict, "cuda", "not told"), (Strict, "cpu", "not told")],
)
def test_supernets_are_told_the_device(plain_zoo, tmp_path, monkeypatch, backend, device, told):
    monkeypatch.setattr("nns.finetuning.training.resolve_device", lambda wanted: {"auto": "cuda"}.get(wanted, wanted))
    settings = plain_zoo.with_(data=plain_zoo.settings.data[:1], networks=2)
    instance = backend()
    wanted = "auto" if device == "cuda" else device
    report = build_zoo(tmp_path / "zoo.h5", settings, registry=registry_of(instance), workers=0, device=wanted)
    assert (report.failed, report.added) == ((), 2)
    assert instance.device == told


def test_weights_of_half_the_bytes(plain_zoo, tmp_path):
    settings = plain_zoo.with_(data=plain_zoo.settings.data[:1], networks=2)
    found = {}
    for weights in ("fp32", "fp16"):
        path = tmp_path / f"{weights}.h5"
        report = build_zoo(path, replace(settings, weights=weights), workers=0)
        assert report.failed == ()
        with Zoo(path) as zoo:
            assert verify(zoo.store) == ()
            found[weights] = {entry.spec.name: load(zoo.store.weights(entry.id)) for entry in zoo.store.entries()}
            ids = set(zoo.store.ids())
        with Zoo(plain_zoo.path) as plain:
            assert ids.isdisjoint(plain.store.ids()) == (weights == "fp16")
    for name, state in found["fp32"].items():
        for key, tensor in state.items():
            half = found["fp16"][name][key]
            if tensor.is_floating_point():
                assert half.dtype == torch.float16
                torch.testing.assert_close(half.float(), tensor, rtol=1e-3, atol=1e-6)
            else:
                assert torch.equal(half, tensor)
    with pytest.raises(UnknownNameError, match="fp8"):
        replace(settings, weights="fp8")
