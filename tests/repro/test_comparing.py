from __future__ import annotations

from dataclasses import replace

import pytest

from nns.errors import ReproError
from nns.repro import CheckReport, StageRecord
from nns.repro.comparing import compare
from nns.repro.environment import environment, environment_differences, one_thread

NAN = float("nan")
RECORDED = StageRecord(
    "build",
    facts={"network 1": "timm:a on birds", "network 2": "timm:b on birds"},
    numbers={"mean accuracy": {"network 1": 0.5, "network 2": NAN}, "features": {"mean of birds": 1.0}},
    exact={"zoo": "ab" * 32},
)


@pytest.mark.parametrize("tolerance", [None, 0.1])
def test_equal_records(tolerance):
    result = compare(RECORDED, RECORDED, tolerance=tolerance)
    assert result.ok
    assert result.differences == ()


def test_facts_must_agree_anywhere():
    now = replace(RECORDED, facts={"network 1": "timm:a on cats", "network 3": "timm:c on birds"})
    result = compare(RECORDED, now, tolerance=0.1)
    assert not result.ok
    assert result.differences == (
        "network 1: timm:a on birds is now timm:a on cats",
        "network 2 (timm:b on birds) is gone",
        "network 3 (timm:c on birds) is new",
    )


def test_numbers_may_be_off_by_the_tolerance():
    numbers = {"mean accuracy": {"network 1": 0.58, "network 2": NAN}, "features": {"mean of birds": 1.0005}}
    now = replace(RECORDED, numbers=numbers, exact={"zoo": "cd" * 32})
    assert compare(RECORDED, now, tolerance=0.1).ok
    (difference,) = compare(RECORDED, now, tolerance=0.07).differences
    assert difference == "mean accuracy: network 1: 0.5 is now 0.58 (more than 0.07 off)"
    exact = compare(RECORDED, now, tolerance=None).differences
    assert exact[0] == "mean accuracy: network 1: 0.5 is now 0.58"
    assert exact[-1].startswith("zoo: abab")
    assert len(exact) == 3


def test_the_accuracy_of_one_network_counts_in_the_same_environment_only():
    was, now = (replace(RECORDED, numbers={"accuracy": {"network 1": value}}) for value in (0.1, 0.7))
    assert compare(was, now, tolerance=0.1).ok
    assert compare(was, now, tolerance=None).differences == ("accuracy: network 1: 0.1 is now 0.7",)


def test_an_unknown_accuracy_must_stay_unknown():
    now = replace(RECORDED, numbers={**RECORDED.numbers, "mean accuracy": {"network 1": NAN, "network 2": 0.5}})
    assert len(compare(RECORDED, now, tolerance=0.5).differences) == 2


def test_long_values_are_shown_where_they_part():
    one, two = replace(RECORDED, exact={"x": "a" * 200 + "bcd"}), replace(RECORDED, exact={"x": "a" * 200 + "xyz"})
    (difference,) = compare(one, two, tolerance=None).differences
    assert "bcd" in difference
    assert "xyz" in difference
    assert len(difference) < 100


def test_the_error_names_the_first_stage_and_the_environment():
    fine = compare(RECORDED, RECORDED, tolerance=None)
    fit = replace(compare(RECORDED, replace(RECORDED, facts={}), tolerance=None), stage="fit")
    report = CheckReport(False, True, 0.0, (fine, fit, replace(fit, stage="search")), {"torch": ("2.13", "2.14")}, 1.0)
    with pytest.raises(ReproError) as error:
        report.raise_if_differs()
    message = str(error.value)
    assert message.startswith("stage fit differs from the lock: network 1 (timm:a on birds) is gone (and 1 more)")
    assert message.endswith("the environment differs: torch 2.13 → 2.14")
    assert error.value.exit_code == 6
    replace(report, stages=(fine,), ok=True).raise_if_differs()


def test_environment(monkeypatch):
    import torch

    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    here = environment()
    assert here["torch"] == torch.__version__ or here["torch"] in torch.__version__
    assert here["cpu"]
    assert here["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert environment_differences(here, here) == {}
    assert environment_differences({**here, "torch": "1.0"}, here) == {"torch": ("1.0", here["torch"])}
    assert environment_differences({}, {"gone": "x"}) == {"gone": ("", "x")}


def test_one_thread_is_restored(monkeypatch):
    import os

    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
        assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert torch.get_num_threads() == before
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_plugins_from_outside_are_recorded_and_excuse_nothing():
    from nns.repro.environment import environment, excuses_nothing
    from nns.repro.settings import DIGITS, ReproSettings

    used = ReproSettings(build=replace(DIGITS, backends=("timm:lcnet_050", "example"))).plugins()
    assert used == [("backend", "example"), ("backend", "timm"), ("method", "mixed")]
    here = environment(used)
    assert here["backend example"].startswith("nns-example==")
    assert "backend timm" not in here, "it is of nns itself, whose version is there"
    assert excuses_nothing("backend example")
    assert excuses_nothing("nns")
    assert not excuses_nothing("torch")
