"""Limits: exact, counted with the head that is needed, and helpful where nothing meets them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nns.errors import NoNetworkError, UnknownNameError
from nns.quantities import parse_bytes, parse_count, parse_latency
from nns.searching.limits import NetworkTable, feasible
from nns.searching.listing import list_networks
from nns.testing._store import sample_network
from nns.types import Limits, NetworkCost, NetworkEntry
from nns.zoo import Zoo

SIZES = st.integers(1, 10**10)
BACKENDS, LICENSES = ("ofa", "timm"), ("MIT", "Apache-2.0")


def entry_of(number, cost, backend="ofa", license="MIT", classes=3):
    entry = sample_network(number, license=license, cost=cost, classes=tuple(map(str, range(classes)))).entry
    return replace(entry, spec=replace(entry.spec, backend=backend))


@st.composite
def zoos(draw) -> list[NetworkEntry]:
    costs = st.builds(NetworkCost, SIZES, SIZES, SIZES, st.integers(1, 4096))
    rows = draw(
        st.lists(st.tuples(costs, st.sampled_from(BACKENDS), st.sampled_from(LICENSES)), min_size=1, max_size=8)
    )
    return [entry_of(number, *row) for number, row in enumerate(rows)]


LIMITS = st.builds(
    Limits,
    max_params=st.none() | SIZES,
    max_macs=st.none() | SIZES,
    max_size=st.none() | SIZES,
    max_latency=st.none() | st.floats(1e-5, 10),
    backend=st.none() | st.sampled_from(BACKENDS),
    license=st.none() | st.sampled_from(["mit", "APACHE-2.0"]),
)
CLASSES = st.none() | st.integers(1, 2000)


def seconds_of(entries):
    """Latencies that have nothing to do with the sizes."""
    return {entry.id: 1e-4 * 3 ** (number % 5) for number, entry in enumerate(entries)}


def meets(entry, limits, classes, seconds):
    head = len(entry.classes) if classes is None else classes
    pairs = [
        (entry.cost.params(head), limits.max_params),
        (entry.cost.macs(head), limits.max_macs),
        (entry.cost.bytes(head), limits.max_size),
        (seconds[entry.id], limits.max_latency),
    ]
    return (
        all(limit is None or value <= limit for value, limit in pairs)
        and limits.backend in (None, entry.spec.backend)
        and (limits.license is None or limits.license.casefold() == entry.license.casefold())
    )


def applied(limits, message):
    """Put the arguments that a message names in place of the limits."""
    for option, value in re.findall(r"(max_\w+)=(\S+)", message):
        if option == "max_params":
            limits = replace(limits, max_params=parse_count(value))
        elif option == "max_macs":
            limits = replace(limits, max_macs=parse_count(value))
        elif option == "max_size":
            limits = replace(limits, max_size=parse_bytes(value))
        elif option == "max_latency":
            limits = replace(limits, max_latency=parse_latency(value))
    return limits


@given(zoos(), LIMITS, CLASSES)
def test_survivors_are_those_within_all_limits_and_the_nearest_limit_has_one(entries, limits, classes):
    table, seconds = NetworkTable.of(entries), seconds_of(entries)
    costs = table.costs(classes)
    expected = [meets(entry, limits, classes, seconds) for entry in entries]
    try:
        mask, known = feasible(table, costs, limits, lambda ids: {i: seconds[i] for i in ids})
    except NoNetworkError as error:
        assert not any(expected)
        assume("no network of" not in str(error))
        relaxed = applied(limits, str(error))
        assert relaxed != limits
        try:
            mask, _ = feasible(table, costs, relaxed, lambda ids: {i: seconds[i] for i in ids})
        except NoNetworkError as second:  # sizes are met now, the latency is not: that is named next
            assert "max_latency=" in str(second)
            mask, _ = feasible(table, costs, applied(relaxed, str(second)), lambda ids: {i: seconds[i] for i in ids})
        assert mask.any()
        return
    assert mask.tolist() == expected
    assert set(known) >= {entries[i].id for i in np.flatnonzero(mask)} or limits.max_latency is None


@given(zoos(), CLASSES)
def test_columns_count_as_the_networks_do(entries, classes):
    costs = NetworkTable.of(entries).costs(classes)
    for row, entry in enumerate(entries):
        head = len(entry.classes) if classes is None else classes
        counted = (costs.params[row], costs.macs[row], costs.bytes[row])
        assert counted == (entry.cost.params(head), entry.cost.macs(head), entry.cost.bytes(head))


@pytest.mark.parametrize(
    ("classes", "params", "macs", "size"), [(0, 100, 200, 400), (2, 122, 220, 488), (10, 210, 300, 840)]
)
def test_a_head_is_weights_and_biases(classes, params, macs, size):
    costs = NetworkTable.of([entry_of(1, NetworkCost(100, 200, 400, 10))]).costs(classes)
    assert (costs.params.tolist(), costs.macs.tolist(), costs.bytes.tolist()) == ([params], [macs], [size])


def test_a_network_fits_with_few_classes_and_not_with_many():
    table = NetworkTable.of([entry_of(1, NetworkCost(1000, 1, 4000, 100))])
    limits = Limits(max_params=2010)
    assert feasible(table, table.costs(10), limits, dict)[0].tolist() == [True]
    with pytest.raises(NoNetworkError, match=r"max_params=2\.2k"):
        feasible(table, table.costs(11), limits, dict)


def test_latency_is_asked_for_only_where_it_can_matter():
    entries = [entry_of(n, NetworkCost(10**n, 1, 1, 1)) for n in range(1, 6)]
    table, asked = NetworkTable.of(entries), []

    def measure(ids):
        asked.append(list(ids))
        return dict.fromkeys(ids, 0.001)

    feasible(table, table.costs(1), Limits(max_params=5000), measure)
    assert asked == []
    feasible(table, table.costs(1), Limits(max_params=5000, max_latency=1.0), measure)
    assert asked == [[entry.id for entry in entries[:3]]]
    with pytest.raises(NoNetworkError, match="fastest needs max_latency=1ms"):
        feasible(table, table.costs(1), Limits(max_latency=0.0005), measure)


def test_what_there_is_is_named_where_backend_or_license_is_not():
    table = NetworkTable.of([entry_of(1, NetworkCost(1, 1, 1, 1), "timm", "CC-BY-NC-4.0")])
    with pytest.raises(NoNetworkError, match=r"license 'MIT'.*backends: timm; licenses: CC-BY-NC-4.0"):
        feasible(table, table.costs(1), Limits(license="MIT"), dict)


@pytest.fixture
def zoo(tmp_path):
    zoo = Zoo(tmp_path / "zoo.h5", must_exist=False)
    for number, (params, accuracy) in enumerate([(300, 0.5), (100, float("nan")), (200, 0.9)]):
        cost = NetworkCost(params, 1000 - params, 4 * params, 1)
        zoo.store.add_network(sample_network(number, cost=cost, accuracy=accuracy, source_dataset=f"data-{9 - number}"))
    return zoo


@pytest.mark.parametrize(
    ("order", "numbers"), [("params", "120"), ("macs", "021"), ("accuracy", "201"), ("dataset", "210"), ("id", "012")]
)
def test_listing_in_order(order, numbers, zoo):
    assert [entry.id[-1] for entry in list_networks(zoo, Limits(), order)] == list(numbers)


def test_listing_within_limits_counts_own_heads(zoo, tmp_path):
    assert [entry.id[-1] for entry in list_networks(zoo, Limits(max_params=206), "id")] == ["1", "2"]
    assert list_networks(zoo, Limits(max_params=105)) == []
    assert list_networks(zoo, Limits(backend="ofa")) == []
    assert list_networks(Zoo(tmp_path / "empty.h5", must_exist=False), Limits()) == []
    with pytest.raises(UnknownNameError, match="did you mean 'params'"):
        list_networks(zoo, Limits(), "param")
