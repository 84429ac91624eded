"""Plans: which architectures compete, and what training one on a dataset is called."""

from __future__ import annotations

import shutil

import pytest

from nns import UnknownNameError, UsageError, load_plugins
from nns.building import SearchSpace
from nns.building.plan import CANDIDATES, item_seed, make_item, plan_architectures
from nns.building.preparing import named_datasets


@pytest.fixture(scope="module")
def datasets(plain_zoo):
    return named_datasets(plain_zoo.settings.data)


def plan(plain_zoo, **changes):
    return plan_architectures(plain_zoo.with_(**changes), load_plugins())


def names(works):
    return [spec.name for work in works for spec in work.specs]


def test_architectures_are_the_same_every_time_each_once_and_alone(plain_zoo):
    works = plan(plain_zoo, backends=("example", "ofa", "example:plain-w8-*"))
    assert works == plan(plain_zoo, backends=("example", "ofa", "example:plain-w8-*"))
    assert len(set(names(works))) == len(names(works)) == len(works)
    assert [work.backend for work in works] == ["example"] * 9 + ["ofa"] * CANDIDATES
    assert names(works) != names(plan(plain_zoo, backends=("example", "ofa"), seed=1))


def test_subnets_name_their_supernet(plain_zoo):
    planned = plan(plain_zoo, backends=("ofa",))
    named = plan(plain_zoo, backends=("ofa:mbv3-w0.25*",))
    assert {work.supernet.config["width"] for work in planned} == {0.5}
    assert {work.supernet.config["width"] for work in named} == {0.25}
    assert all(work.supernet is None for work in plan(plain_zoo))


def test_settings_reach_the_works(plain_zoo):
    for work in plan(plain_zoo, epochs=3, image_size=24):
        assert (work.training.epochs, work.image_size) == (3, 24)
    spaces = {"example": SearchSpace(("plain-w8-*", "plain-w24-d3"), candidates=3, image_size=16, epochs=2)}
    works = plan(plain_zoo, epochs=5, spaces=spaces)
    assert len(works) == 3
    assert all(name.startswith(("plain-w8-", "plain-w24-d3")) for name in names(works))
    assert {(work.training.epochs, work.image_size) for work in works} == {(2, 16)}


def test_architectures_by_pattern(plain_zoo):
    works = plan(plain_zoo, backends=("example:plain-w8-*",))
    assert {spec.config["width"] for work in works for spec in work.specs} == {8}
    assert {work.training.lr for work in works} == {3e-3}  # as the backend trains its own choices
    with pytest.raises(UnknownNameError, match=r"'big\*'"):
        plan(plain_zoo, backends=("example:big*",))


def test_impossible_plans(plain_zoo):
    with pytest.raises(UsageError, match="give `backends` NAME"):
        plan(plain_zoo, backends=())
    with pytest.raises(UnknownNameError, match="did you mean 'example'"):
        plan(plain_zoo, backends=("exampel",))


def test_ids_and_seeds_come_from_what_an_item_is(plain_zoo, datasets):
    (name, data), (_, other) = datasets
    ofa, settings = plan(plain_zoo, backends=("ofa",))[:3], plain_zoo.settings
    together = make_item(name, data, ofa, settings)
    alone = [make_item(name, data, [work], settings) for work in ofa]
    assert together.ids == tuple(item.ids[0] for item in alone)
    assert {item.seed for item in alone} == {together.seed}
    assert {item.supernet_id for item in alone} == {together.supernet_id} != {""}
    assert make_item(name, other, ofa, settings).seed != together.seed
    first, second = (make_item(name, data, [work], settings) for work in plan(plain_zoo)[:2])
    assert first.seed != second.seed
    assert first.supernet_id == ""


@pytest.mark.parametrize("change", [{"seed": 1}, {"max_images": 7}, {"weights": "fp16"}])
def test_what_changes_a_network_changes_its_id(plain_zoo, datasets, change):
    name, data = datasets[0]
    for backend in ("example", "ofa"):
        work = plan(plain_zoo, backends=(backend,))[0]
        before, after = (make_item(name, data, [work], s) for s in (plain_zoo.settings, plain_zoo.with_(**change)))
        assert set(before.ids).isdisjoint(after.ids)
        assert before.supernet_id != after.supernet_id or backend == "example"


def test_a_network_that_may_be_given_up_is_another(plain_zoo, datasets):
    name, data = datasets[0]
    work = plan(plain_zoo)[0]
    plain, watched, lower = (make_item(name, data, [work], plain_zoo.settings, m) for m in ({}, {5: 0.5}, {5: 0.4}))
    assert len({plain.ids, watched.ids, lower.ids}) == 3
    assert watched.stop_below == {5: 0.5}
    ofa = plan(plain_zoo, backends=("ofa",))[0]
    assert make_item(name, data, [ofa], plain_zoo.settings, {5: 0.5}) == make_item(
        name, data, [ofa], plain_zoo.settings
    )


def test_items_name_their_data_for_workers_that_start_elsewhere(plain_zoo, tmp_path, monkeypatch):
    shutil.copytree(plain_zoo.settings.data[0], tmp_path / "birds")
    monkeypatch.chdir(tmp_path)
    ((name, data),) = named_datasets(["birds"])
    item = make_item(name, data, plan(plain_zoo)[:1], plain_zoo.settings)
    assert {str(image.source.parents[1]) for image in item.data.items} == {str(tmp_path / "birds")}


def test_folders_of_one_name_are_told_apart(plain_zoo, tmp_path):
    data = enumerate(plain_zoo.settings.data)
    copies = [str(shutil.copytree(folder, tmp_path / str(number) / "birds")) for number, folder in data]
    assert [name for name, _ in named_datasets(copies)] == ["birds", "birds-2"]


def test_a_number_that_makes_a_name_unique_is_nobody_elses_name(plain_zoo, tmp_path, caplog):
    data = []
    for number, name in enumerate(("birds", "birds", "birds-2")):
        folder = shutil.copytree(plain_zoo.settings.data[0], tmp_path / str(number) / name)
        for image in sorted(folder.rglob("*.png"))[:number]:
            image.unlink()
        data.append(str(folder))
    assert [name for name, _ in named_datasets(data)] == ["birds", "birds-2", "birds-2-2"]
    shutil.move(next(tmp_path.glob("0/birds/*")), tmp_path / "0" / "birds" / "val")
    named_datasets(data[:1])
    assert "named like a split ('val')" in caplog.text


def test_seeds_come_from_their_parts():
    seeds = {item_seed(seed, name, "x") for seed in range(20) for name in "abc"}
    assert len(seeds) == 60
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert item_seed(0, "ab", "c") != item_seed(0, "a", "bc")
