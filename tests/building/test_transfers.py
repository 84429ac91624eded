"""Which networks are fine-tuned on which other datasets."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nns import BuildSettings, Zoo, build_zoo
from nns.building.transfers import RESULTS_A_DATASET, plan_transfers
from nns.types import ArchitectureSpec


def dataset(name):
    return name, SimpleNamespace(digest=f"digest of {name}", path=f"/data/{name}")


def network(number, source):
    spec = ArchitectureSpec("example", "plain", {}, "random")
    return SimpleNamespace(id=f"{number:016x}", source_digest=f"digest of {source}" if source else "", spec=spec)


@pytest.fixture
def datasets():
    return [dataset(f"{family}-{part}") for family in ("emoji", "icons", "digits", "photos") for part in range(3)]


@pytest.fixture
def networks(datasets):
    return [network(i, datasets[i % len(datasets)][0]) for i in range(60)] + [network(99, None)]


def pairs(settings, datasets, networks):
    return [item.key for item in plan_transfers(settings, datasets, networks)]


def test_few_datasets_of_different_families_get_many_results_each(datasets, networks):
    planned = plan_transfers(BuildSettings(transfers=3 * RESULTS_A_DATASET), datasets, networks)
    counts = Counter(item.dataset_name for item in planned)
    assert list(counts.values()) == [RESULTS_A_DATASET] * 3
    assert len({name.partition("-")[0] for name in counts}) == 3
    used = Counter(item.network_id for item in planned)
    assert len(used) == len(networks) and set(used.values()) == {1, 2}
    sources = {each.id: each.source_digest for each in networks}
    assert all(sources[item.network_id] != item.dataset_digest for item in planned)
    assert len({item.seed for item in planned}) == len(planned) == len({item.key for item in planned})


@pytest.mark.parametrize("wanted", [1, 10, RESULTS_A_DATASET, RESULTS_A_DATASET + 1, 100, 10**6])
def test_so_many_as_are_wanted_and_there_are_pairs(datasets, networks, wanted):
    found = pairs(BuildSettings(transfers=wanted), datasets, networks)
    assert len(set(found)) == len(found) == min(wanted, 60 * 11 + 12)


def test_where_networks_run_out_more_datasets_are_taken(datasets):
    few = [network(i, datasets[0][0]) for i in range(4)]
    planned = plan_transfers(BuildSettings(transfers=30), datasets, few)
    assert len(planned) == 30
    assert max(Counter(item.dataset_name for item in planned).values()) == 4


def test_neither_the_order_nor_one_more_of_anything_changes_much(datasets, networks):
    settings = BuildSettings(transfers=2 * RESULTS_A_DATASET)
    found = pairs(settings, datasets, networks)
    assert pairs(settings, datasets[::-1], networks[::-1]) == found
    assert pairs(replace(settings, seed=1), datasets, networks) != found
    one_fewer = pairs(settings, datasets, networks[:30] + networks[31:])
    assert len(set(found) & set(one_fewer)) >= 0.7 * len(found)


@pytest.mark.parametrize("pretrained", [0, 1])
def test_one_dataset_alone_has_transfers_only_if_asked(pretrained):
    networks = [network(0, "a"), network(1, "a"), network(2, None)][: 2 + pretrained]
    assert pairs(BuildSettings(), [dataset("a")], networks) == []
    assert len(pairs(BuildSettings(transfers=9), [dataset("a")], networks)) == pretrained


def test_those_of_an_earlier_plan_count(plain_zoo, tmp_path):
    path = plain_zoo.copy(tmp_path)
    first = build_zoo(path, plain_zoo.with_(transfers=3), workers=0)
    assert (first.added, first.transfers) == (0, 3)
    grown = build_zoo(path, plain_zoo.with_(networks=8, transfers=5), workers=0)
    assert (grown.added, grown.transfers) == (4, 5)
    again = build_zoo(path, plain_zoo.with_(networks=8, transfers=5), workers=0)
    assert (again.transfers, again.digest) == (5, grown.digest)


def test_as_many_are_announced_as_are_made(plain_zoo, tmp_path):
    events = []
    settings = plain_zoo.with_(transfers=None, strategy="all")
    report = build_zoo(plain_zoo.copy(tmp_path), settings, workers=0, on_event=events.append)
    assert {event.transfers_total for event in events if event.kind == "plan"} == {report.transfers}
    assert events[-1].transfers == events[-1].transfers_total == report.transfers > 0
    with Zoo(tmp_path / "zoo.h5") as zoo:
        assert len(zoo.store.transfers()) == report.transfers
