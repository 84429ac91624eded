"""Plans and recipes: what a build will do, without doing it."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest

from nns import UnknownNameError, UsageError, load_plugins
from nns.pipeline.build import BuildSettings, read_recipe
from nns.pipeline.build.building import named_datasets
from nns.pipeline.build.plan import item_seed, plan_build


@pytest.fixture(scope="module")
def datasets(plain_zoo):
    return named_datasets(plain_zoo.settings.data)


def plan(plain_zoo, datasets, **changes):
    return plan_build(plain_zoo.with_(**changes), load_plugins(), datasets)


def test_a_plan_is_the_same_every_time_and_does_not_depend_on_the_order(plain_zoo, datasets):
    first = plan(plain_zoo, datasets, networks=6)
    assert first == plan(plain_zoo, named_datasets(plain_zoo.settings.data), networks=6)
    turned = plan(plain_zoo, datasets[::-1], networks=6)
    assert {i for item in first for i in item.ids} == {i for item in turned for i in item.ids}


def test_networks_are_spread_over_datasets_and_backends(plain_zoo, datasets):
    items = plan(plain_zoo, datasets, networks=5, backends=("example", "ofa"))
    counted = Counter()
    for item in items:
        counted[item.dataset_name, item.work.backend] += len(item.ids)
    assert counted == {("a", "example"): 2, ("a", "ofa"): 1, ("b", "example"): 1, ("b", "ofa"): 1}
    assert len({i for item in items for i in item.ids}) == 5


def test_settings_reach_the_items(plain_zoo, datasets):
    for item in plan(plain_zoo, datasets, epochs=3, image_size=24):
        assert (item.work.settings["epochs"], item.work.image_size) == (3, 24)
    ids = [{i for item in plan(plain_zoo, datasets, **change) for i in item.ids} for change in ({}, {"epochs": 2})]
    assert not ids[0] & ids[1]


def test_architectures_by_pattern(plain_zoo, datasets):
    items = plan(plain_zoo, datasets, backends=("example:plain-w8-*",), networks=4)
    assert {spec.config["width"] for item in items for spec in item.work.specs} == {8}
    assert {item.work.settings["lr"] for item in items} == {3e-3}  # as the backend trains its own choices
    with pytest.raises(UnknownNameError, match=r"'big\*'"):
        plan(plain_zoo, datasets, backends=("example:big*",))


def test_impossible_plans(plain_zoo, datasets):
    with pytest.raises(UsageError, match="raise --networks"):
        plan(plain_zoo, datasets, networks=1)
    with pytest.raises(UsageError, match="give --backend NAME"):
        plan(plain_zoo, datasets, backends=())
    with pytest.raises(UnknownNameError, match="did you mean 'example'"):
        plan(plain_zoo, datasets, backends=("exampel",))


def test_folders_of_one_name_are_told_apart(plain_zoo, tmp_path):
    data = enumerate(plain_zoo.settings.data)
    copies = [str(shutil.copytree(folder, tmp_path / str(number) / "birds")) for number, folder in data]
    assert [name for name, _ in named_datasets(copies)] == ["birds", "birds-2"]


def test_seeds_come_from_what_an_item_is():
    seeds = {item_seed(seed, name, "x") for seed in range(20) for name in "abc"}
    assert len(seeds) == 60
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert item_seed(0, "ab", "c") != item_seed(0, "a", "bc")


def test_a_recipe_is_read_relative_to_its_file(tmp_path):
    (tmp_path / "recipe.toml").write_text(
        'data = ["birds", "/abs/tiles", "torchvision:CIFAR10"]\nbackends = ["timm:mobilenet*"]\n'
        "networks = 12\nimage_size = 48\nmax_images = 100\npretrained = false\nepochs = 2\nseed = 7\n"
    )
    assert read_recipe(tmp_path / "recipe.toml") == BuildSettings(
        data=(str(tmp_path / "birds"), "/abs/tiles", "torchvision:CIFAR10"),
        backends=("timm:mobilenet*",),
        networks=12,
        image_size=48,
        max_images=100,
        pretrained=False,
        epochs=2,
        seed=7,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("netwroks = 3", r"unknown key .*'netwroks'; did you mean 'networks'"),
        ("networks = true", "networks must be int, not True"),
        ("networks = 2.5", "networks must be int"),
        ("pretrained = 1", "pretrained must be bool"),
        ('data = "birds"', "data must be list"),
        ("data = [1]", "list of strings"),
        ("networks = 0", "at least 1"),
        ("image_size = 8", "16 to 512"),
        ("max_images = 1", "at least 2"),
        ("epochs = 0", "at least 1"),
        ("networks = ", "is no TOML"),
    ],
)
def test_a_bad_recipe_is_refused(text, message, tmp_path):
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_recipe(tmp_path / "recipe.toml")


def test_a_recipe_that_is_no_text(tmp_path):
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is no TOML"):
        read_recipe(tmp_path / "recipe.toml")
    with pytest.raises(UsageError, match="cannot read recipe"):
        read_recipe(tmp_path)
