"""The executor of ray, on a real cluster of two nodes on this machine: run with ``pytest -m slow``."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import CancelledError, wait
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

import _executor_items as items

from nns.building.executors import RayExecutor, WorkerLostError, make_executor
from nns.errors import UsageError

pytestmark = pytest.mark.slow

ONE_CPU = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module", autouse=True)
def items_importable():
    """Workers find the items by $PYTHONPATH, as ray does not hand on ``sys.path``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={**ONE_CPU, "include_dashboard": False})
    started.second = started.add_node(**ONE_CPU)
    yield started
    started.shutdown()


@pytest.fixture
def executor(cluster):
    with RayExecutor(cluster.address, initializer=items.no_preparation) as started:
        yield started


def test_items_run_on_both_nodes(executor):
    assert executor.slots == 2
    nodes = {future.result() for future in [executor.submit(items.node, 0.5) for _ in range(6)]}
    assert len(nodes) == 2


def test_exceptions_keep_their_type_and_message(executor):
    with pytest.raises(KeyError) as caught:
        executor.submit(items.raises, KeyError("chair")).result()
    assert type(caught.value) is KeyError and caught.value.args == ("chair",)
    with pytest.raises(UsageError, match="^a bad name$"):
        executor.submit(items.raises, UsageError("a bad name")).result()


def test_a_killed_worker_loses_its_item_only_and_that_is_run_again(executor, tmp_path, capfd):
    names = [f"item{number}" for number in range(4)]
    victim = executor.submit(items.dies_at_first, tmp_path, "victim")
    others = [executor.submit(items.noted, tmp_path, name, 0.2) for name in names]
    assert [future.result() for future in [victim, *others]] == ["victim", *names]
    assert items.runs(tmp_path, "victim") == 2
    assert [items.runs(tmp_path, name) for name in names] == [1] * 4
    assert not capfd.readouterr().out


def test_an_item_that_always_kills_its_worker_fails_alone(executor, tmp_path):
    poison = executor.submit(items.dies, tmp_path)
    others = [executor.submit(items.noted, tmp_path, f"item{number}", 0.1) for number in range(4)]
    with pytest.raises(WorkerLostError, match="died 3 times, at last with ray's WorkerCrashedError"):
        poison.result()
    assert items.runs(tmp_path, "poison") == 3
    for future in others:
        assert items.runs(tmp_path, future.result()) == 1


def test_workers_are_prepared_and_leave_interrupts_to_their_parent(cluster):
    with make_executor("ray", 1, threads=1, address=cluster.address) as executor:
        assert executor.submit(items.torch_threads).result() == 1
        assert executor.submit(items.interrupts_itself).result() == "still here"


def test_more_threads_than_any_node_has_do_not_wait_for_ever(cluster):
    with RayExecutor(cluster.address, threads=4, initializer=items.no_preparation) as executor:
        assert executor.slots == 2
        assert executor.submit(items.square, 4).result(timeout=60) == 16


def test_cancelling_ends_sleeping_workers_at_once(cluster, tmp_path):
    executor = RayExecutor(cluster.address, initializer=items.no_preparation)
    pid_file = tmp_path / "pid"
    futures = [executor.submit(items.sleeps, pid_file, 60) for _ in range(4)]
    while not (pid_file.exists() and pid_file.read_text()):
        time.sleep(0.05)
    started = time.monotonic()
    executor.shutdown(cancel=True)
    assert time.monotonic() - started < 10
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(timeout=0)


def test_a_ray_that_is_started_already_is_used_and_left_alone(cluster):
    import ray

    ray.init(cluster.address, log_to_driver=False)
    try:
        with RayExecutor(None, initializer=items.no_preparation) as executor:
            assert executor.submit(items.square, 5).result() == 25
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_no_cluster_at_an_address_is_told_within_seconds():
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match=r"no ray cluster at '127.0.0.1:9', give HOST:PORT of one, or auto"):
        RayExecutor("127.0.0.1:9")


def test_a_lost_node_loses_nothing(cluster, executor, tmp_path):
    long = [executor.submit(items.noted, tmp_path, name, 3.0) for name in ("long0", "long1")]
    while not (items.runs(tmp_path, "long0") and items.runs(tmp_path, "long1")):
        time.sleep(0.02)
    names = [f"item{number}" for number in range(6)]
    queued = [executor.submit(items.noted, tmp_path, name, 0.2) for name in names]
    cluster.remove_node(cluster.second, allow_graceful=False)
    assert [future.result() for future in [*long, *queued]] == ["long0", "long1", *names]
    assert sorted(items.runs(tmp_path, name) for name in ("long0", "long1")) == [1, 2]
    assert [items.runs(tmp_path, name) for name in names] == [1] * 6
    assert executor.slots == 1

    cluster.second = cluster.add_node(**ONE_CPU)
    assert executor.slots == 2


def test_a_lost_node_that_was_running_nothing_costs_no_item_a_try(cluster):
    with RayExecutor(cluster.address, workers=2, initializer=items.no_preparation, retries=0) as executor:
        wait([executor.submit(items.node, 0.3) for _ in range(4)])
        cluster.remove_node(cluster.second, allow_graceful=False)
        assert [executor.submit(items.square, number).result() for number in range(5)] == [0, 1, 4, 9, 16]
        cluster.second = cluster.add_node(**ONE_CPU)


def test_it_starts_a_cluster_of_its_own_and_ends_it():
    ray = pytest.importorskip("ray")
    with make_executor("ray", 2, initializer=items.no_preparation) as executor:
        assert executor.slots == 2
        assert [executor.submit(items.square, number).result() for number in range(3)] == [0, 1, 4]
    assert not ray.is_initialized()


def test_gpus_are_shared_out():
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)
    try:
        slots = {}
        for workers, gpus in ((None, True), (3, True), (12, True), (None, False)):
            with RayExecutor(None, 1, workers, items.no_preparation, gpus=gpus) as executor:
                slots[workers, gpus] = executor.slots
                assert not gpus or executor._gpus == {None: 1, 3: 0.5, 12: 0.1666}[workers]
                seen = [executor.submit(items.visible_gpus, 0.3) for _ in range(executor.slots)]
                assert {future.result() for future in seen} <= ({"0", "1"} if gpus else {""})
        assert slots == {(None, True): 2, (3, True): 3, (12, True): 12, (None, False): 4}
    finally:
        ray.shutdown()
