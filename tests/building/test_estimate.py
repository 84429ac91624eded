"""What a build is expected to take: against a clock that only training moves, and against a real zoo."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from nns import BuildSettings, DatasetError, UsageError, Zoo, load_plugins
from nns.building import SearchSpace, estimate, estimate_build
from nns.building.estimate import EVALUATED, FIXED_BYTES, START
from nns.testing import tiny_image_folder

FIXED, IMAGE = 2.0, 0.01
"""Seconds of a training, and of each image."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two datasets of 200 and 40 images: 170 and 34 for training, 30 and 6 for validation."""
    folder = tmp_path_factory.mktemp("data")
    sizes = {"large": 100, "small": 20}
    return tuple(str(tiny_image_folder(folder / name, classes=2, per_class=n, seed=n)) for name, n in sizes.items())


@pytest.fixture
def settings(data):
    return BuildSettings(
        data=data,
        backends=("example",),
        networks=6,
        image_size=16,
        max_images=None,
        epochs=4,
        pretrained=False,
        transfers=0,
    )


@pytest.fixture
def clock(monkeypatch):
    """Only training takes time: more where there are more MACs."""
    from nns_example import ExampleBackend

    now = SimpleNamespace(seconds=0.0, trained=[])

    def produce(self, item, data, train, seed):
        images = (len(data.train) + EVALUATED * len(data.val)) * item.training.epochs
        now.seconds += FIXED + IMAGE * images
        now.trained.append(item.specs[0].name)
        return iter(())

    monkeypatch.setattr(ExampleBackend, "produce", produce)
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


MEAN_IMAGES = (170 + 34) / 2 + EVALUATED * (30 + 6) / 2
ONE = FIXED + IMAGE * MEAN_IMAGES * 4


def test_time_is_that_of_the_trainings(settings, clock):
    found = estimate_build(settings, workers=0)
    assert {one.seconds for one in found.architectures} == {round(ONE, 2)}
    assert found.seconds == pytest.approx(6 * ONE, abs=0.1)
    assert (found.networks, found.supernets, found.supernet_seconds, found.transfers) == (6, 0, 0.0, 0)
    assert [(each.name, each.classes, each.images, each.validation) for each in found.datasets] == [
        ("large", 2, 170, 30),
        ("small", 2, 34, 6),
    ]


def test_workers_share_the_time(settings, clock):
    found = estimate_build(settings, workers=3)
    assert found.workers == 3
    assert found.seconds == pytest.approx(START + 6 * ONE / 3, abs=0.1)


def test_more_work_takes_more_time(settings, clock):

    def seconds(**changes):
        return estimate_build(replace(settings, **changes), workers=0).seconds

    assert seconds(strategy="all") == pytest.approx(18 * ONE, abs=0.1)
    assert seconds(networks=100) == pytest.approx(18 * ONE, abs=0.1)
    assert seconds(epochs=8) == pytest.approx(6 * (FIXED + IMAGE * MEAN_IMAGES * 8), abs=0.1)
    transfers = 5 * (FIXED + IMAGE * MEAN_IMAGES * 2)
    assert seconds(transfers=5, transfer_epochs=2) == pytest.approx(6 * ONE + transfers, abs=0.1)
    few = (20 + 20) / 2 + EVALUATED * (30 + 6) / 2
    assert seconds(max_images=20) == pytest.approx(6 * (FIXED + IMAGE * few * 4), abs=0.1)


def test_a_few_architectures_are_timed_from_the_smallest_to_the_largest(settings, clock):
    told = []
    found = estimate_build(settings, on_progress=lambda what, done, total: told.append((what, done, total)))
    assert [each[1:] for each in told if each[0] == "timing architectures"] == [(number, 6) for number in range(7)]
    assert [each[1:] for each in told if each[0] == "counting architectures"] == [(number, 9) for number in range(9)]
    assert len(found.architectures) == 9
    by_macs = sorted(found.architectures, key=lambda one: one.macs)
    timed = set(clock.trained)
    assert len(timed) == 6
    assert {by_macs[0].name, by_macs[-1].name} <= timed


def test_the_others_lie_between(settings, clock, monkeypatch):
    from nns_example import ExampleBackend

    def produce(self, item, data, train, seed):
        clock.seconds += item.specs[0].config["width"] * (1 + item.specs[0].config["depth"])
        return iter(())

    monkeypatch.setattr(ExampleBackend, "produce", produce)
    found = sorted(estimate_build(settings).architectures, key=lambda one: one.macs)
    seconds = [one.seconds for one in found]
    truth = [float(int(one.name.split("-w")[1].split("-")[0]) * (1 + int(one.name[-1]))) for one in found]
    wrong = [number for number in range(9) if seconds[number] != truth[number]]
    assert 0 < len(wrong) <= 3
    for number in wrong:
        assert min(seconds) < seconds[number] < max(seconds)


def test_supernets_are_trained_once_a_dataset_and_subnets_are_cut(settings, clock, monkeypatch):

    from torch import nn

    from nns.backends.ofa import OfaBackend

    def train_supernet(self, item, data, seed):
        clock.seconds += FIXED + IMAGE * (len(data.train) + EVALUATED * len(data.val)) * item.training.epochs
        return SimpleNamespace(module=nn.Linear(99, 10_000))

    def cut(self, item, supernet, data):
        clock.seconds += 0.5
        return iter(())

    monkeypatch.setattr(OfaBackend, "train_supernet", train_supernet)
    monkeypatch.setattr(OfaBackend, "cut", cut)
    settings = replace(settings, backends=("ofa",), spaces={"ofa": SearchSpace(candidates=3)})
    found = estimate_build(settings, workers=0)
    assert (found.networks, found.supernets, found.supernet_seconds) == (6, 2, round(ONE, 2))
    assert {(one.epochs, one.seconds) for one in found.architectures} == {(4, 0.5)}
    assert found.seconds == pytest.approx(2 * ONE + 6 * 0.5, abs=0.1)
    weights = 2 * 4 * 100 * 10_000
    assert 0.5 * weights < found.bytes - 6 * FIXED_BYTES <= weights


def test_supernets_are_timed_on_the_device(settings, clock, monkeypatch):

    from torch import nn

    from nns.backends.ofa import OfaBackend

    devices = set()

    def train_supernet(self, item, data, seed, *, device="cpu"):
        devices.add(device)
        return SimpleNamespace(module=nn.Linear(2, 2))

    monkeypatch.setattr("nns.finetuning.training.resolve_device", lambda wanted: {"auto": "cuda"}.get(wanted, wanted))
    monkeypatch.setattr(OfaBackend, "train_supernet", train_supernet)
    monkeypatch.setattr(OfaBackend, "cut", lambda self, item, supernet, data: iter(()))
    settings = replace(settings, backends=("ofa",), spaces={"ofa": SearchSpace(candidates=2)})
    assert estimate_build(settings, workers=0, device="auto").broken == ()
    assert devices == {"cuda"}


def test_nothing_is_written_and_the_zoo_does_not_matter(settings, clock, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    estimate_build(settings)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_trained_is_left_out(settings, clock, monkeypatch):
    from nns_example import ExampleBackend

    def produce(self, item, data, train, seed):
        if item.specs[0].config["width"] == 24:
            raise OSError("no such disk")
        clock.seconds += 1
        return iter(())

    monkeypatch.setattr(ExampleBackend, "produce", produce)
    found = estimate_build(settings, workers=0)
    assert found.broken
    assert {reason for _, reason in found.broken} == {"OSError: no such disk"}
    assert all(name.startswith("example:plain-w24-") for name, _ in found.broken)
    assert len(found.architectures) + len(found.broken) == 9
    assert found.seconds == pytest.approx(6, abs=0.1)


def test_if_nothing_can_be_trained_that_is_an_error(settings, clock, monkeypatch):
    from nns_example import ExampleBackend

    def produce(self, *arguments):
        raise OSError("no such disk")

    monkeypatch.setattr(ExampleBackend, "produce", produce)
    with pytest.raises(UsageError, match="no architecture can be trained; example:plain.*OSError: no such disk"):
        estimate_build(settings)


def test_wrong_settings_and_data_are_errors(settings, tmp_path):

    with pytest.raises(UsageError, match="1 networks cannot be spread over 2 datasets"):
        estimate_build(replace(settings, networks=1))
    with pytest.raises(DatasetError, match="nowhere"):
        estimate_build(replace(settings, data=(str(tmp_path / "nowhere"),)))


def test_splits_that_a_dataset_has_are_kept(settings, clock, tmp_path):

    for split, per_class in (("train", 10), ("val", 4), ("test", 7)):
        tiny_image_folder(tmp_path / "split" / split, classes=2, per_class=per_class, seed=per_class)
    found = estimate_build(replace(settings, data=(str(tmp_path / "split"),)))
    assert [(each.images, each.validation) for each in found.datasets] == [(20, 8)]


def test_half_precision_halves_the_weights(settings, clock):

    whole = estimate_build(settings).bytes - 6 * FIXED_BYTES
    half = estimate_build(replace(settings, weights="fp16")).bytes - 6 * FIXED_BYTES
    assert half == pytest.approx(whole / 2, abs=1)


def test_it_is_about_the_zoo_that_is_built(small_zoo):
    """The settings of the small zoo: ofa, timm and example, and what comes trained."""
    settings = BuildSettings(
        data=tuple(map(str, small_zoo.data)),
        backends=("ofa", "timm:mobilenetv3_small_050", "example"),
        strategy="all",
        spaces={"ofa": SearchSpace(candidates=1), "example": SearchSpace(candidates=1)},
        image_size=32,
        max_images=40,
        epochs=1,
        transfers=0,
    )
    found = estimate_build(settings, workers=2)
    with Zoo(small_zoo.path) as zoo:
        trained = [entry for entry in zoo.store.entries() if entry.source_dataset != "imagenet-1k"]
        supernets = len(zoo.store.supernets())
    assert (found.networks, found.supernets) == (len(trained), supernets) == (9, 3)
    assert {one.name for one in found.architectures} == {entry.spec.name for entry in trained}
    size = small_zoo.path.stat().st_size
    assert size / 2 < found.bytes < size * 2
    assert found.seconds > START


def test_transfers_of_what_comes_trained_take_their_own_time(small_zoo, monkeypatch):
    settings = BuildSettings(
        data=tuple(map(str, small_zoo.data[:2])), backends=("timm:mobilenetv3_small_050",), networks=2, image_size=32,
        max_images=40, epochs=1, transfer_epochs=3,
    )  # fmt: skip
    asked = []
    pace = estimate._Pace(100.0, 0.0)
    monkeypatch.setattr(estimate._Timing, "pretrained_transfer", lambda self: asked.append(self) or pace)
    found = estimate_build(settings, workers=0)
    assert found.transfers == 2 * 1 + 3 * 2
    assert found.seconds == pytest.approx(8 * 3 / 5 * pace.seconds(40, 3), rel=0.2)
    assert estimate_build(replace(settings, transfers=0), workers=0).seconds < 60
    assert estimate_build(replace(settings, pretrained=False), workers=0).seconds < 60
    assert len(asked) == 1


def test_what_comes_trained_is_timed(small_zoo):
    settings = BuildSettings(data=tuple(map(str, small_zoo.data[:2])), backends=("timm",), image_size=32, max_images=40)
    place, registry = estimate.Place("", str(small_zoo.folder / "timing"), "cpu"), load_plugins()
    dataset = estimate.named_datasets(settings.data)
    sizes = [estimate._size(name, one, 40) for name, one in dataset]
    timing = estimate._Timing(settings, registry, place, estimate._sample(dataset, sizes))
    assert len(timing.pretrained()) == 3
    assert 0.001 < timing.pretrained_transfer().seconds(40, 3) < 60
