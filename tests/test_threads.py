"""How many threads compute: as the user says, else as a short measurement says; what is limited stays so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

from nns import threads
from nns.building.worker import start_worker
from nns.data.extractors.efficientnet_lite0 import EfficientNetLite0Extractor
from nns.repro.environment import one_thread
from nns.threads import limited_threads, measured_threads, quickest_threads, set_threads, threads_wanted


@pytest.fixture(autouse=True)
def _four_threads_and_nothing_said(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "_limits", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


class Machine:
    """A clock on which work takes as long as is said for each number of threads."""

    def __init__(self, seconds: dict[int, float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.now, self.calls = seconds, 0.0, list[int]()
        monkeypatch.setattr(threads.time, "perf_counter", lambda: self.now)

    def work(self, units: int = 1) -> None:
        self.calls.append(torch.get_num_threads())
        self.now += units * self.seconds[torch.get_num_threads()]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({1: 0.010, 2: 0.006, 4: 0.004}, 4),
        ({1: 0.010, 2: 0.006, 4: 0.007}, 2),
        ({1: 0.010, 2: 0.030, 4: 0.001}, 1),  # two threads that wait for one another: more are not even tried
        ({1: 0.010, 2: 0.0099, 4: 0.0098}, 1),  # nothing is gained: other work gets the cores
        ({1: 5.0, 2: 3.0, 4: 2.0}, 4),
    ],
)
def test_the_quickest_number_is_chosen(seconds, expected, monkeypatch):
    machine = Machine(seconds, monkeypatch)
    assert measured_threads(machine.work) == expected
    assert torch.get_num_threads() == 4
    if max(seconds.values()) < 0.1:
        assert machine.now < 0.5 + threads.ENOUGH


def test_what_else_the_machine_does_for_a_moment_decides_nothing(monkeypatch):
    machine = Machine({1: 0.010, 2: 0.008, 4: 0.0079}, monkeypatch)

    def work(units: int) -> None:
        machine.work()
        machine.now += 0.02 if len(machine.calls) == 5 else 0.0  # once, with two threads

    assert measured_threads(work) == 2


@pytest.mark.parametrize(("whole", "most"), [(1e9, 3.0), (30.0, 2.4), (2.0, 0.16), (0.5, 0.01)])
def test_measuring_takes_a_twelfth_of_the_work_and_three_seconds_at_most(whole, most, monkeypatch):
    machine = Machine({1: 0.001, 2: 0.00099, 4: 0.00098}, monkeypatch)
    assert measured_threads(machine.work, 1000, lambda unit: whole) == 1
    assert machine.now < 1.1 * most


def test_what_the_user_says_is_not_measured(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert measured_threads(lambda _: pytest.fail("there is nothing to measure")) == 4
    assert threads_wanted() == 4
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads_wanted() == 1
    torch.set_num_threads(1)
    assert measured_threads(lambda _: pytest.fail("there is nothing to measure")) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_after_an_error_there_are_as_many_threads_as_before(error):
    def work(units: int = 1) -> None:
        raise error

    with pytest.raises(error):
        measured_threads(work)
    with pytest.raises(error), quickest_threads(nn.Identity(), 8):
        work()
    with pytest.raises(error), limited_threads(2):
        work()
    assert torch.get_num_threads() == 4
    assert not threads.threads_given()


def batches(machine: Machine, count: int, network: nn.Module) -> list[int]:
    for _ in range(count):
        with quickest_threads(network, 8):
            machine.work()
    return machine.calls


def test_forward_passes_find_the_quickest_number_as_they_go(monkeypatch):
    assert batches(Machine({1: 0.10, 4: 0.05}, monkeypatch), 12, nn.Identity())[4:] == [4] * 8
    slow = batches(Machine({1: 0.05, 4: 0.10}, monkeypatch), 12, nn.Identity())
    assert slow == [1, 4] + [1] * 10  # one batch was slow
    assert torch.get_num_threads() == 4


def test_forward_passes_are_measured_again_when_the_machine_has_become_busy(monkeypatch):
    machine, network = Machine({1: 0.10, 4: 0.05}, monkeypatch), nn.Identity()
    batches(machine, 20, network)
    machine.seconds[4] = 1.0
    machine.calls.clear()
    assert batches(machine, 100, network).count(4) < 25
    assert machine.calls[-20:].count(4) <= 1


def test_what_is_limited_stays_so(monkeypatch):
    machine = Machine({2: 0.1}, monkeypatch)
    with limited_threads(2):
        assert batches(machine, 4, nn.Identity()) == [2] * 4
        assert measured_threads(machine.work) == threads_wanted() == 2
    with one_thread():
        assert measured_threads(lambda _: pytest.fail("locks are exact")) == threads_wanted() == 1


def test_one_helper_limits_torch_and_the_libraries_of_numpy(monkeypatch):
    def used() -> set[int]:
        return {each["num_threads"] for each in threadpool_info()} | {torch.get_num_threads()}

    with threadpool_limits(2):
        with limited_threads(1):
            assert used() == {1}
        assert used() == {2}
        set_threads(3)
        assert used() == {3}
    monkeypatch.setattr("nns.building.worker.set_threads", lambda count: given.append(count))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    given: list[int] = []
    start_worker(3)
    assert given == [3]


def test_features_are_all_but_the_same_with_any_number_of_threads():
    images = torch.randint(0, 256, (9, 3, 224, 224), generator=torch.Generator().manual_seed(0)).byte().numpy()
    extractor = EfficientNetLite0Extractor(batch_size=4)
    found = []
    for count in (1, 2, 4):
        with limited_threads(count):
            found.append(extractor.extract(images))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-4, atol=1e-5)
