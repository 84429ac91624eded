from __future__ import annotations

import pytest
from nns_example import DEPTHS, WIDTHS, ExampleBackend

from nns.plugins import load_plugins
from nns.testing import BackendContract, tiny_image_folder


class TestExampleBackend(BackendContract):
    @pytest.fixture
    def backend(self):
        return ExampleBackend()


def test_it_is_found_by_its_entry_point():
    registry = load_plugins()
    assert isinstance(registry.backend("example"), ExampleBackend)
    (plugin,) = [plugin for plugin in registry.plugins if plugin.name == "example"]
    assert plugin.distribution == "nns-example"
    assert plugin.version
    assert plugin.registered == (("backend", "example"),)
    assert not plugin.builtin


def test_names_can_be_chosen_from():
    backend = ExampleBackend()
    assert len(backend.offers()) == len(WIDTHS) * len(DEPTHS)
    assert [spec.name for spec in backend.offers("plain-w8-*")] == ["plain-w8-d3", "plain-w8-d4", "plain-w8-d5"]


@pytest.mark.slow
def test_a_zoo_is_built_of_it(tmp_path):
    from nns.building import BuildSettings, build_zoo
    from nns.stores import HDF5Store

    data = tiny_image_folder(tmp_path / "stripes")
    settings = BuildSettings((str(data),), ("example",), networks=2, image_size=32, epochs=1)
    report = build_zoo(tmp_path / "zoo.h5", settings, workers=1)
    assert report.failed == ()
    assert report.added == 2
    entries = HDF5Store(tmp_path / "zoo.h5").entries()
    assert {entry.spec.backend for entry in entries} == {"example"}
