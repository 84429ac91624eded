"""The zoo of who has none: what is installed."""

import pytest

from nns.building.installed import installed_zoo
from nns.errors import MissingZooError
from nns.plugins import load_plugins
from nns.verbs import open_zoo
from nns.zoo import Zoo


@pytest.fixture(autouse=True)
def no_other_zoo(cuts, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NNS_ZOO", raising=False)
    monkeypatch.setenv("NNS_LOAD_PLUGINS", "")


def test_it_holds_the_packaged_networks_and_is_made_once(tmp_path):
    path = installed_zoo(load_plugins())
    assert path.is_relative_to(tmp_path)
    with Zoo(path) as zoo:
        names = {network.spec.name for network in zoo.networks()}
        assert {"tf_efficientnet_lite0", "tf_efficientnet_lite1-s5", "tf_efficientnet_lite2-s3"} <= names
        (trunk,) = [network for network in zoo.networks() if network.spec.name == "tf_efficientnet_lite0-s4"]
        assert sum(p.numel() for p in trunk.load(classes=3).parameters()) == trunk.entry.cost.params(3)
    before = path.stat().st_mtime_ns
    assert installed_zoo(load_plugins()) == path
    assert path.stat().st_mtime_ns == before
    assert [each.name for each in path.parent.iterdir() if each.is_file()] == [path.name]


def test_it_is_opened_where_no_zoo_is_named():
    with open_zoo() as zoo:
        assert zoo.path == installed_zoo(load_plugins())
        assert len(zoo) >= 12


def test_without_any_network_the_error_says_what_to_do():
    with pytest.raises(MissingZooError, match="nns-zoo-starter"):
        installed_zoo(load_plugins([]))
