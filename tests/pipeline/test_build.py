"""Building: resumes, repeats, survives failures."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from nns_example import ExampleBackend
from safetensors.torch import load

from nns import DatasetError, Zoo, ZooError, build_zoo, load_plugins
from nns.backends import WorkItem
from nns.backends.ofa import OfaBackend
from nns.errors import UnknownNameError
from nns.finetuning._run import Run
from nns.pipeline.build import default_workers
from nns.plugins import Registry
from nns.zoo import verify


def registry_of(backend):
    return Registry((), (), {backend.name: lambda: backend}, {}, {})


class Faulty(ExampleBackend):
    """Cannot build networks of these depths."""

    def __init__(self, *depths):
        self.depths = depths

    def build(self, spec, classes, seed=0):
        if spec.config["depth"] in self.depths:
            raise RuntimeError("out of memory")
        return super().build(spec, classes, seed)


class Pairs(Faulty):
    """Two networks come out of one work item, as with a supernet."""

    def plan(self, networks, image_size, seed):
        specs = (self._spec(8, 3), self._spec(8, 4))
        return [WorkItem(self.name, specs, 16, {"lr": 1e-3})]


def test_the_report_and_the_zoo(plain_zoo):
    report = plain_zoo.report
    assert (report.networks, report.added, report.datasets, report.failed, report.interrupted) == (4, 4, 2, (), False)
    with Zoo.open(plain_zoo.path) as zoo:
        assert zoo.digest() == report.digest
        assert verify(zoo.store) == ()
        assert zoo.info().by_dataset == {"a": 2, "b": 2}
        for entry in zoo.entries():
            assert entry.classes == ("class-0", "class-1")
            assert entry.preprocessing.size == 16
            assert entry.provenance["epochs"] == 1
        assert [(d.name, d.images, len(d.features)) for d in zoo.datasets()] == [("a", 12, 12), ("b", 12, 12)]
    assert [path.name for path in plain_zoo.path.parent.iterdir() if "zoo" in path.name] == ["zoo.h5"]


def test_a_second_run_adds_nothing(plain_zoo, tmp_path):
    path, kinds = plain_zoo.copy(tmp_path), []

    def note(event):
        kinds.append((event.kind, event.done))

    report = build_zoo(path, plain_zoo.settings, load_plugins(), workers=0, on_event=note)
    assert (report.added, report.networks, report.digest) == (0, 4, plain_zoo.report.digest)
    assert kinds == [("plan", 4), ("dataset", 4), ("dataset", 4), ("merge", 4)]


def test_a_larger_build_goes_on_from_a_smaller_one(plain_zoo, tmp_path):
    path = tmp_path / "zoo.h5"
    first = build_zoo(path, plain_zoo.with_(networks=2), load_plugins(), workers=0)
    second = build_zoo(path, plain_zoo.settings, load_plugins(), workers=0)
    assert (first.added, second.added, second.digest) == (2, 2, plain_zoo.report.digest)


def test_interrupted_and_resumed_it_is_the_same_zoo(plain_zoo, tmp_path):
    path, done = tmp_path / "zoo.h5", []

    def interrupt(event):
        if event.kind == "network":
            done.append(event.done)
            if event.done == 3:
                raise KeyboardInterrupt

    first = build_zoo(path, plain_zoo.settings, load_plugins(), workers=0, on_event=interrupt)
    assert (first.interrupted, first.networks, done) == (True, 3, [1, 2, 3])
    second = build_zoo(path, plain_zoo.settings, load_plugins(), workers=0, on_event=interrupt)
    assert (second.interrupted, second.added, second.digest) == (False, 1, plain_zoo.report.digest)


def test_a_half_trained_network_does_not_enter_the_zoo(plain_zoo, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "train_epoch", interrupt)
    report = build_zoo(tmp_path / "zoo.h5", plain_zoo.settings, load_plugins(), workers=0)
    assert (report.interrupted, report.networks) == (True, 0)


@pytest.mark.slow
def test_the_number_of_workers_does_not_matter(plain_zoo, tmp_path):
    for workers in (1, 2):
        report = build_zoo(tmp_path / f"{workers}.h5", plain_zoo.settings, load_plugins(), workers=workers)
        assert report.digest == plain_zoo.report.digest


def test_a_seed_gives_another_zoo_and_other_ids(plain_zoo, tmp_path):
    report = build_zoo(tmp_path / "zoo.h5", plain_zoo.with_(seed=1), load_plugins(), workers=0)
    assert report.digest != plain_zoo.report.digest
    with Zoo.open(tmp_path / "zoo.h5") as zoo, Zoo.open(plain_zoo.path) as other:
        assert not set(zoo.ids()) & set(other.ids())


def test_a_failing_item_is_reported_and_tried_again(plain_zoo, tmp_path):
    path, failed = tmp_path / "zoo.h5", []

    def note(event):
        if event.kind == "failed":
            failed.append((event.item.dataset_name, event.message))

    report = build_zoo(path, plain_zoo.settings, registry_of(Faulty(3, 5)), workers=0, on_event=note)
    assert failed
    assert report.failed == tuple((name, "example", "RuntimeError: out of memory") for name, _ in failed)
    assert report.networks == report.added == 4 - len(failed)
    again = build_zoo(path, plain_zoo.settings, load_plugins(), workers=0)
    assert (again.failed, again.added, again.digest) == ((), len(failed), plain_zoo.report.digest)


def test_an_item_that_fails_half_way_keeps_its_finished_networks(plain_zoo, tmp_path):
    path, done = tmp_path / "zoo.h5", []
    report = build_zoo(path, plain_zoo.settings, registry_of(Pairs(4)), workers=0)
    assert (len(report.failed), report.added, report.networks) == (2, 2, 2)
    again = build_zoo(
        path, plain_zoo.settings, registry_of(Pairs()), workers=0, on_event=lambda event: done.append(event.done)
    )
    assert (again.failed, again.added, again.networks) == ((), 2, 4)
    assert (done[0], done[-1]) == (2, 4)


def test_one_set_of_images_is_given_once(plain_zoo, tmp_path):
    copy = shutil.copytree(plain_zoo.settings.data[0], tmp_path / "copy")
    settings = plain_zoo.with_(data=(plain_zoo.settings.data[0], str(copy)))
    with pytest.raises(DatasetError, match="copy' holds the same images as"):
        build_zoo(tmp_path / "zoo.h5", settings, load_plugins(), workers=0)
    assert not (tmp_path / "zoo.h5").exists()


def test_no_dataset_and_no_zoo(plain_zoo, tmp_path):
    with pytest.raises(DatasetError, match="give --data FOLDER"):
        build_zoo(tmp_path / "zoo.h5", plain_zoo.with_(data=()), load_plugins(), workers=0)
    (tmp_path / "zoo.h5").write_text("something else")
    with pytest.raises(ZooError, match=r"zoo\.h5"):
        build_zoo(tmp_path / "zoo.h5", plain_zoo.settings, load_plugins(), workers=0)
    assert (tmp_path / "zoo.h5").read_text() == "something else"


def test_default_workers_share_the_cores():
    assert default_workers() >= 1
    assert default_workers(10_000) == 1


def test_a_supernet_is_stored_once_with_its_subnets_as_slices(plain_zoo, tmp_path):
    path = tmp_path / "zoo.h5"
    settings = plain_zoo.with_(data=plain_zoo.settings.data[:1], backends=("ofa",), networks=3, image_size=32)
    registry = registry_of(OfaBackend(width=0.25))
    report = build_zoo(path, settings, registry, workers=0)
    assert report.failed == ()
    with Zoo.open(path) as zoo:
        (supernet,) = zoo.store.supernets()
        assert len(zoo) == 3
        for entry in zoo.entries():
            assert entry.provenance["base"] == supernet.id
            assert entry.cost.body_params < supernet.cost.body_params
            state = load(zoo.load_weights(entry.id))
            assert registry.backend("ofa").load(entry.spec, state, 2)
        packing = zoo.store.packing()
        assert packing.codecs["slice"][0] > 60
        assert packing.ratio > 1.5
        assert verify(zoo.store) == ()
    again = build_zoo(path, settings, registry, workers=0)
    assert (again.added, again.digest) == (0, report.digest)


def test_weights_of_half_the_bytes(plain_zoo, tmp_path):
    settings = plain_zoo.with_(data=plain_zoo.settings.data[:1], networks=2)
    found = {}
    for weights in ("fp32", "fp16"):
        path = tmp_path / f"{weights}.h5"
        report = build_zoo(path, replace(settings, weights=weights), load_plugins(), workers=0)
        assert report.failed == ()
        with Zoo.open(path) as zoo:
            assert verify(zoo.store) == ()
            found[weights] = {entry.spec.name: load(zoo.load_weights(entry.id)) for entry in zoo.entries()}
            ids = set(zoo.ids())
        with Zoo.open(plain_zoo.path) as plain:
            assert ids.isdisjoint(plain.ids()) == (weights == "fp16")
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
