"""A zoo on a machine without the plugin that some of its networks need."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nns.errors import UnknownNameError
from nns.networks.origins import missing_backend, origin_of, with_origin
from nns.plugins import LoadedPlugin, PluginFailure, Registry, install_hint
from nns.stores import HDF5Store
from nns.stores._digest import network_content_digest
from nns.testing._store import sample_network
from nns.types import NetworkRecord, Provenance

GONE = "f" * 16


@pytest.fixture
def zoo(small_zoo, tmp_path):
    """The small zoo, and a twin of each of its networks of a backend that is not installed."""
    path = small_zoo.copy(tmp_path)
    with HDF5Store(path) as store:
        twins = []
        for number, name in enumerate(store.ids()):
            entry = store.entry(name)
            entry = replace(
                entry, id=f"{GONE[:14]}{number:02x}", spec=replace(entry.spec, backend="gone"),
                provenance=replace(entry.provenance, extra={"versions": {"backend": "acme-nets==0.2"}}),
            )  # fmt: skip
            twins.append(NetworkRecord(entry, store.fingerprint(name), store.weights(name)))
        store.add_all(twins)
    return path


def test_what_can_be_built_comes_first_and_the_rest_is_marked(zoo, small_zoo, nns):
    found = nns("search", small_zoo.query, "--zoo", zoo, "--top", 99, "--json").json
    needs = [each["needs"] for each in found["candidates"]]
    here = needs.count(None)
    assert needs == [None] * here + ["backend 'gone', which is not installed: pip install acme-nets==0.2"] * here
    assert not [network for network in found["together"] if network.startswith(GONE[:14])]
    shown = nns("search", small_zoo.query, "--zoo", zoo, "--top", 99)
    assert "needs a plugin" in shown.out
    assert f"{here} of these networks cannot be built here: pip install acme-nets==0.2" in shown.err


def test_fine_tuning_skips_them_and_says_what_to_install(zoo, small_zoo, nns, tmp_path):
    ran = nns(
        "finetune", small_zoo.query, "--zoo", zoo, "--try", 2, "--epochs", 1, "--image-size", 32, "-o", tmp_path / "m",
        "--json", "--max-params", 300_000,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert not ran.json["network"].startswith(GONE[:14])
    ran = nns("finetune", small_zoo.query, "--zoo", zoo, "--network", GONE[:14] + "00", "-o", tmp_path / "n")
    assert ran.code == 2
    assert "needs backend 'gone', which is not installed: pip install acme-nets==0.2" in ran.err


def test_where_a_network_came_from_changes_no_digest_and_a_stranger_can_say_nothing_else():
    record = sample_network(1)
    made = with_origin(Provenance(extra={"versions": {"torch": "2"}}), "timm")
    assert dict(made.extra)["versions"]["torch"] == "2"
    entry = replace(record.entry, provenance=made)
    assert origin_of(entry).startswith("nns==")
    digests = {network_content_digest(each, record.fingerprint, "0" * 64) for each in (entry, replace(entry))}
    plain = replace(entry, provenance=Provenance(extra={"versions": {}}))
    bare = replace(entry, provenance=Provenance())
    assert len(digests) == 1
    assert network_content_digest(plain, None, "") == network_content_digest(bare, None, "")
    assert with_origin(Provenance(), "no such backend") == Provenance()
    for evil in ("acme==1; rm -rf /", "--index-url=http://x y==1", "a==1\nb", 3, None, "acme", "x==" + "1" * 99):
        twin = replace(record.entry, provenance=Provenance(extra={"versions": {"backend": evil}}))
        assert origin_of(twin) == install_hint(evil) == ""
        assert missing_backend(twin, Registry((), ())) == f"backend {twin.spec.backend!r}, which is not installed"


def test_an_unknown_name_says_how_many_plugins_failed():
    broken = PluginFailure("a", "acme", "ImportError: x")
    with pytest.raises(UnknownNameError, match=r"unknown backend 'acme' .*; 1 plugin failed to load, `nns plugins`"):
        Registry((), (broken,)).backend("acme")
    with pytest.raises(UnknownNameError, match="2 plugins failed"):
        Registry((), (broken, broken)).make("method", "acme")


def test_what_registered_a_name():
    registry = Registry((LoadedPlugin("a", "acme-nets", "0.2", False, (("backend", "gone"),)),), ())
    assert registry.origin("backend", "gone") == "acme-nets==0.2"
    assert registry.origin("method", "gone") == ""
