"""``nns zoo diff``: what differs is named, what is equal is not parsed, a stranger's zoo is bounded."""

from __future__ import annotations

import json
import math
import shutil
import tracemalloc
from dataclasses import replace

import pytest

from nns.errors import MissingZooError
from nns.stores import HDF5Store
from nns.stores.hdf5.networks import WeightsTable
from nns.testing._store import (
    sample_dataset,
    sample_network,
    sample_space,
    sample_subnet,
    sample_supernet,
    sample_transfer,
)
from nns.types import LatencyRecord, Provenance
from nns.zoo import diff_zoos


def name(number):
    return f"{number:016x}"


def zoo(path, networks, *others):
    """Write a zoo, merged."""
    with HDF5Store(path) as store:
        store.add_all([*networks, *others])
    return path


def changed(record, **changes):
    return replace(record, entry=replace(record.entry, **changes))


def seeded(number, seed, **extra):
    """The network ``number`` with weights of another seed, and a provenance that says so."""
    return sample_network(number, seed, provenance=Provenance(epochs=3, extra={"seed": seed, **extra}))


def by_kind(found, what="network"):
    kinds = {}
    for each in found.listed:
        if each.what == what:
            kinds.setdefault(each.kind, []).append(each)
    return kinds


def test_a_zoo_is_the_same_as_itself_however_it_was_written(tmp_path):
    networks = [sample_network(number) for number in range(4)]
    a = zoo(tmp_path / "a.h5", networks, sample_dataset("birds"))
    b = tmp_path / "b.h5"
    with HDF5Store(b) as store:  # in another order, and left in the journal
        for record in reversed(networks):
            store.add_network(record)
        store.add_dataset(sample_dataset("birds"))
        store.put_latencies([LatencyRecord(name(1), "cpu", 0.1)])
    found = diff_zoos(a, b)
    assert found.same
    assert (found.equal, found.a.digest) == (4, found.b.digest)
    assert not any(found.counts.values())
    assert found.listed == []


def test_networks_added_removed_retrained_and_changed(tmp_path):
    """One of each, beside one that stays."""
    old = [sample_network(1), seeded(2, 0), sample_network(3), sample_network(4)]
    new = [sample_network(1), seeded(2, 7), changed(sample_network(3), accuracy=0.5, license="MIT"), sample_network(5)]
    found = diff_zoos(zoo(tmp_path / "a.h5", old), zoo(tmp_path / "b.h5", new))
    assert not found.same
    assert found.equal == 1
    assert found.counts == {"added": 1, "removed": 1, "retrained": 1, "changed": 1}
    kinds = by_kind(found)
    assert [each.name for each in kinds["added"]] == [name(5)]
    assert [each.name for each in kinds["removed"]] == [name(4)]
    assert [(each.name, each.was) for each in kinds["retrained"]] == [(name(2), "")]
    assert kinds["retrained"][0].fields == {"provenance.seed": (0, 7)}
    assert [each.name for each in kinds["changed"]] == [name(3)]
    assert kinds["changed"][0].fields == {"accuracy": (pytest.approx(0.13), 0.5), "license": ("Apache-2.0", "MIT")}
    assert found.fields == {"provenance.seed": 1, "accuracy": 1, "license": 1}
    moved = found.numbers["accuracy"]
    assert (moved.networks, moved.mean) == (1, pytest.approx(0.37))


def test_the_same_architecture_on_the_same_data_under_another_id_is_trained_anew(tmp_path):
    again = changed(seeded(2, 7), id=name(90), accuracy=0.9)
    found = diff_zoos(zoo(tmp_path / "a.h5", [seeded(2, 0)]), zoo(tmp_path / "b.h5", [again]))
    assert found.counts == {"added": 0, "removed": 0, "retrained": 1, "changed": 0}
    (each,) = found.listed
    assert (each.name, each.was) == (name(90), name(2))
    assert each.fields["provenance.seed"] == (0, 7)
    assert found.numbers["accuracy"].networks == 1
    # of two that it may be, neither is taken for it
    two = zoo(tmp_path / "c.h5", [again, changed(seeded(2, 8), id=name(91))])
    assert diff_zoos(tmp_path / "a.h5", two).counts == {"added": 2, "removed": 1, "retrained": 0, "changed": 0}


def test_versions_are_named_where_a_network_differs(tmp_path):
    old, new = (seeded(2, s, versions={"torch": f"2.{s}"}, seconds=s, host=f"h{s}") for s in (0, 7))
    found = diff_zoos(zoo(tmp_path / "a.h5", [old]), zoo(tmp_path / "b.h5", [new]))
    assert found.listed[0].fields == {"provenance.seed": (0, 7), "provenance.versions.torch": ("2.0", "2.7")}


def test_a_fingerprint_alone_is_a_change(tmp_path):
    record, other = sample_network(3), sample_network(3, 1)
    found = diff_zoos(
        zoo(tmp_path / "a.h5", [record]), zoo(tmp_path / "b.h5", [replace(record, fingerprint=other.fingerprint)])
    )
    assert found.counts["changed"] == 1
    assert list(found.listed[0].fields) == ["fingerprint"]


def test_an_unknown_accuracy_is_equal_to_itself_and_no_number(tmp_path):
    old = [sample_network(1, accuracy=math.nan), sample_network(2, accuracy=math.nan)]
    new = [sample_network(1, accuracy=math.nan), sample_network(2, accuracy=0.5)]
    found = diff_zoos(zoo(tmp_path / "a.h5", old), zoo(tmp_path / "b.h5", new))
    assert (found.equal, found.counts["changed"]) == (1, 1)
    assert vars(found.numbers["accuracy"]) == {"networks": 1, "lowest": None, "mean": None, "highest": None}
    json.dumps(found.to_dict(), allow_nan=False)


def test_supernets_datasets_spaces_and_transfers(tmp_path):
    a = zoo(
        tmp_path / "a.h5",
        [sample_subnet(1, 1)],
        sample_supernet(1),
        sample_dataset("birds"),
        sample_dataset("gone"),
        sample_dataset("tiles"),
    )
    b = zoo(
        tmp_path / "b.h5",
        [sample_subnet(1, 1)],
        sample_supernet(1),
        sample_supernet(2),
        replace(sample_dataset("birds", 1), images=700),
        sample_dataset("new"),
        sample_dataset("tiles"),
    )
    with HDF5Store(a) as store, HDF5Store(b) as other:
        store.put_space(sample_space("mixed"))
        store.put_space(sample_space("old"))
        store.put_space(sample_space("still"))
        other.put_space(sample_space("mixed", 3))
        other.put_space(sample_space("still"))
        store.put_transfers([sample_transfer(1, "birds"), sample_transfer(1, "tiles"), sample_transfer(1, "kept")])
        other.put_transfers([sample_transfer(1, "tiles", accuracy=0.8), sample_transfer(1, "kept")])
        other.put_transfers([sample_transfer(1, "new")])
    found = diff_zoos(a, b)
    assert found.supernet_counts == {"added": 1, "removed": 0, "retrained": 0, "changed": 0}
    assert [each.name for each in by_kind(found, "supernet")["added"]] == [sample_supernet(2).entry.id]
    assert [(each.kind, each.name) for each in found.datasets] == [
        ("changed", "birds"),
        ("removed", "gone"),
        ("added", "new"),
    ]
    assert found.datasets[0].fields == {"digest": ("digest-birds-0", "digest-birds-1"), "images": (600, 700)}
    assert [(each.kind, each.name) for each in found.spaces] == [("changed", "mixed"), ("removed", "old")]
    assert list(found.spaces[0].fields) == ["settings.seed", "weights", "embeddings"]
    assert found.transfers == {"added": 1, "removed": 1, "changed": 1}
    assert not found.same


def test_only_what_differs_is_parsed(tmp_path, monkeypatch):
    old = [sample_network(number) for number in range(60)]
    new = [*old[:-1], changed(old[-1], accuracy=0.5)]
    a, b = zoo(tmp_path / "a.h5", old, sample_dataset("x")), zoo(tmp_path / "b.h5", new, sample_dataset("x"))
    read, parsed = WeightsTable.entry, []
    monkeypatch.setattr(WeightsTable, "entry", lambda table, row: parsed.append(row) or read(table, row))
    monkeypatch.setattr(WeightsTable, "entries", property(lambda table: pytest.fail("all were parsed")))
    assert diff_zoos(a, b).counts["changed"] == 1
    assert parsed == [59, 59]


def test_all_are_counted_and_some_are_listed(nns, tmp_path):
    a = zoo(tmp_path / "a.h5", [sample_network(number) for number in range(30)])
    b = zoo(tmp_path / "b.h5", [sample_network(number, 1) for number in range(30)])
    found = diff_zoos(a, b, limit=3)
    assert (found.counts["retrained"], len(found.listed)) == (30, 3)
    assert "27 networks more: `limit` lists them" in found.table.caption
    assert "27 networks more: --limit lists them" in nns("zoo", "diff", a, b, "--limit", 3).out


def test_a_number_that_differs_under_an_equal_digest_is_seen(tmp_path, monkeypatch):
    """A file says of itself what its digests are: the columns are compared all the same."""
    record = sample_network(3)
    a = zoo(tmp_path / "a.h5", [record])
    monkeypatch.setattr("nns.stores.hdf5.shards.network_content_digest", lambda *_: "ab" * 32)
    b = zoo(tmp_path / "b.h5", [changed(record, accuracy=0.9)])
    c = zoo(tmp_path / "c.h5", [record])
    assert diff_zoos(b, c).counts["changed"] == 1
    assert diff_zoos(a, b).counts["changed"] == 1


def test_what_a_stranger_wrote_is_cut(tmp_path):
    """Thousands of keys, and values of hundreds of kilobytes."""

    def huge(letter):
        extra = {f"key-{number}-{letter}": number for number in range(5000)} | {"long": letter * 400_000}
        return sample_network(1, provenance=Provenance(extra=extra))

    a, b = zoo(tmp_path / "a.h5", [huge("a")]), zoo(tmp_path / "b.h5", [huge("b")])
    tracemalloc.start()
    text = json.dumps(diff_zoos(a, b).to_dict())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(text) < 20_000
    assert peak < 64 << 20


def test_a_zoo_that_is_not_there(tmp_path):
    a = zoo(tmp_path / "a.h5", [sample_network(1)])
    with pytest.raises(MissingZooError):
        diff_zoos(a, tmp_path / "nothing.h5")


def test_the_command(nns, tmp_path):
    a = zoo(tmp_path / "a.h5", [sample_network(1), seeded(2, 0), sample_network(4)])
    b = zoo(tmp_path / "b.h5", [sample_network(1), changed(seeded(2, 7), accuracy=0.5), sample_network(5)])
    ran = nns("zoo", "diff", a, b)
    assert (ran.code, ran.err) == (0, "")
    assert f"{a} → {b}: 1 added, 1 removed, 1 retrained, 1 equal" in ran.out
    assert "12.0% → 50.0%" in ran.out
    assert all(name(number) in ran.out for number in (2, 4, 5))  # as many digits as tell them apart
    assert "accuracy moved in 1 network: by +38.0 points" in ran.out
    document = nns("zoo", "diff", a, b, "--json").json
    assert document["same"] is False
    assert {key: document["networks"][key] for key in ("equal", "added", "removed", "retrained", "changed")} == {
        "equal": 1,
        "added": 1,
        "removed": 1,
        "retrained": 1,
        "changed": 0,
    }
    (retrained,) = [each for each in document["networks"]["listed"] if each["kind"] == "retrained"]
    assert retrained["fields"]["provenance.seed"] == [0, 7]
    copy = shutil.copy(a, tmp_path / "copy.h5")
    same = nns("zoo", "diff", a, copy)
    assert (same.code, same.out) == (0, "")
    assert "hold the same: 3 networks" in same.err
    assert nns("zoo", "diff", a, copy, "--json").json["same"] is True
    assert nns("zoo", "diff", a, tmp_path / "none.h5").code != 0
