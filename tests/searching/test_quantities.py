"""Numbers as people write them, there and back."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nns.errors import UsageError
from nns.quantities import (
    format_bytes,
    format_count,
    format_seconds,
    limit_for,
    parse_bytes,
    parse_count,
    parse_duration,
    parse_latency,
)

COUNTS = st.integers(1, 10**14)
SECONDS = st.floats(1e-6, 59.0)
PARSERS = {"count": parse_count, "bytes": parse_bytes, "latency": parse_latency}


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_count, "5M", 5_000_000),
        (parse_count, "300k", 300_000),
        (parse_count, "300K", 300_000),
        (parse_count, " 1.5 G ", 1_500_000_000),
        (parse_count, ".5M", 500_000),
        (parse_count, "12345", 12345),
        (parse_bytes, "20MB", 20_000_000),
        (parse_bytes, "512KB", 512_000),
        (parse_bytes, "512", 512),
        (parse_latency, "10ms", 0.01),
        (parse_latency, "800us", 800e-6),
        (parse_latency, "800µs", 800e-6),
        (parse_duration, "10m", 600),
        (parse_duration, "1.5h", 5400),
        (parse_duration, "45s", 45),
        (parse_duration, "2min", 120),
        (parse_duration, "1h30m", 5400),
        (parse_duration, "1 h 30 min", 5400),
        (parse_duration, "90sec", 90),
        (parse_duration, "1h 5s", 3605),
        (parse_count, "5m", 5_000_000),
        (parse_count, "5e6", 5_000_000),
        (parse_count, "1.5E+6", 1_500_000),
        (parse_count, "5,000,000", 5_000_000),
        (parse_count, "1,500.5k", 1_500_500),
        (parse_bytes, "20mb", 20_000_000),
    ],
)
def test_examples(parse, text, value):
    assert parse(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("parse", [parse_count, parse_bytes, parse_latency, parse_duration])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "5X",
        "-5",
        "5 5",
        "0",
        "0.0ms",
        "nan",
        "inf",
        "5m5",
        "٥",
        "9" * 400,
        "1e-3",
        "1e400",
        "5,00",
        "5,0000,000",
        ",5",
        "1,2,3",
    ],
)
def test_what_is_no_number_names_itself_and_an_example(parse, text):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert repr(text) in str(caught.value)


def test_units_are_not_mixed_up():
    for parse, text in ((parse_count, "5MB"), (parse_bytes, "5M"), (parse_latency, "10"), (parse_latency, "10m")):
        with pytest.raises(UsageError, match="e.g. "):
            parse(text)


@pytest.mark.parametrize("text", ["5", "1m1h", "30m30m", "1h30", "90 90s", "5M", "1e3s", "2minutes"])
def test_a_duration_has_units_from_the_largest_to_the_smallest(text):
    with pytest.raises(UsageError, match="e.g. 10m or 1h30m"):
        parse_duration(text)


def test_a_number_without_a_unit_is_told_what_it_might_mean():
    with pytest.raises(UsageError, match="5m are minutes, 5s seconds"):
        parse_duration("5")


@settings(max_examples=50)
@given(st.text(max_size=12))
def test_parsing_anything_gives_a_positive_number_or_a_usage_error(text):
    for parse in (parse_count, parse_bytes, parse_latency, parse_duration):
        with contextlib.suppress(UsageError):
            assert parse(text) >= 0


@given(COUNTS)
def test_counts_there_and_back(value):
    assert parse_count(str(value)) == pytest.approx(value, rel=1e-15)
    assert parse_count(format_count(value)) == pytest.approx(value, rel=0.006)


@given(COUNTS)
def test_bytes_there_and_back(value):
    assert parse_bytes(format_bytes(value)) == pytest.approx(value, rel=0.006)


@given(SECONDS)
def test_seconds_there_and_back(value):
    assert parse_latency(format_seconds(value)) == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(("value", "text"), [(999_499, "999 k"), (999_500, "1 M"), (999, "999"), (10**12, "1000 G")])
def test_rounding_up_to_the_next_unit(value, text):
    assert format_count(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(200, "3 m 20 s"), (4320, "1 h 12 m"), (59.7, "59.7 s"), (0, "0 us")])
def test_long_times(seconds, text):
    assert format_seconds(seconds) == text


@given(st.integers(1, 10**13), st.sampled_from(["count", "bytes"]))
def test_a_limit_admits_its_number_and_little_more(value, kind):
    limit = PARSERS[kind](limit_for(value, kind))
    assert value <= limit <= value + max(1, value // 10 + 1)


@given(st.floats(1e-6, 1e4))
def test_a_latency_limit_admits_its_number(value):
    assert value <= parse_latency(limit_for(value, "latency")) <= value * 1.11
