"""The machines of a build are alike, or it says how they are not; images are decoded where they are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nns import build_zoo
from nns.building import building
from nns.building.executors import InlineExecutor
from nns.building.machines import check_machines, describe_machine
from nns.errors import UsageError


class Elsewhere(InlineExecutor):
    """Other machines, of which it is known what they say."""

    def __init__(self, machines):
        self.machines = machines

    def on_each_machine(self, function, *args):
        return {
            address: each if isinstance(each, Exception) else each(function(*args))
            for address, each in self.machines.items()
        }


def with_versions(**changes):
    return lambda found: replace(found, name="second", versions={**found.versions, **changes})


def test_machines_that_are_alike_may_build(tmp_path):
    check_machines(Elsewhere({"10.0.0.2": with_versions()}), tmp_path)
    check_machines(InlineExecutor(), tmp_path / "nothing")


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"nns": "0.0.9"}, r"10.0.0.2 \(second\) has nns 0.0.9, this machine nns "),
        ({"nns-example": "7"}, r"has nns-example 7, this machine nns-example "),
        ({"acme-nets": "1.0"}, r"has acme-nets 1.0, this machine acme-nets not installed"),
        ({"python": "3.1.4", "torch": "1"}, r"has python 3.1.4, torch 1, this machine python 3[.\d]+, torch "),
    ],
)
def test_what_differs_is_named(versions, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        check_machines(Elsewhere({"10.0.0.2": with_versions(**versions), "10.0.0.3": with_versions()}), tmp_path)


def test_a_machine_that_does_not_see_the_folder_is_named(tmp_path):
    blind = Elsewhere({"10.0.0.2": lambda found: replace(found, name="second", sees=False)})
    with pytest.raises(
        UsageError, match=r"10.0.0.2 \(second\) does not see .*: the folder of the zoo must be on a disk"
    ):
        check_machines(blind, tmp_path)
    assert not describe_machine(str(tmp_path / "nothing")).sees
    assert describe_machine(str(tmp_path)).sees


def test_a_machine_without_nns_is_named(tmp_path):
    lacking = Elsewhere({"10.0.0.2": ModuleNotFoundError("No module named 'nns'")})
    with pytest.raises(
        UsageError, match="10.0.0.2 cannot run nns .*No module named .nns.*install there what is here: python"
    ):
        check_machines(lacking, tmp_path)


def test_versions_are_those_of_plugins_as_well():
    versions = describe_machine(str(Path.cwd())).versions
    assert {"python", "nns", "torch", "nns-example"} <= set(versions)
    assert versions["nns"] != "not installed"


class FarAway(InlineExecutor):
    """Another machine, on which the images are not."""

    elsewhere = True

    def __init__(self, folder):
        self.folder = folder

    def submit(self, function, *args):
        self.folder.rename(self.folder.with_name("only on the head"))
        try:
            return super().submit(function, *args)
        finally:
            self.folder.with_name("only on the head").rename(self.folder)


def test_another_machine_need_not_have_the_images(plain_zoo, tmp_path, monkeypatch):
    for data in plain_zoo.settings.data:
        shutil.copytree(data, tmp_path / "data" / Path(data).name)
    settings = plain_zoo.with_(data=tuple(str(each) for each in sorted((tmp_path / "data").iterdir())), transfers=2)
    monkeypatch.setattr(building, "make_executor", lambda *_, **__: FarAway(tmp_path / "data"))
    report = build_zoo(tmp_path / "zoo.h5", settings)
    assert not report.failed
    assert (report.networks, report.transfers) == (settings.networks, 2)
    monkeypatch.undo()
    assert report.digest == build_zoo(tmp_path / "here.h5", settings, workers=0).digest
