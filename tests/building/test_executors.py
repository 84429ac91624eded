"""Executors of this machine: what is lost when workers die, and what is not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import CancelledError, wait
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).parent))

import _executor_items as items

from nns.building.executors import InlineExecutor, LocalExecutor, WorkerLostError, make_executor
from nns.errors import NnsError, UnknownNameError, UsageError


@pytest.fixture(scope="module")
def executor():
    with LocalExecutor(2, initializer=items.no_preparation) as started:
        yield started


class FakeRay:
    """A ray that refuses to connect."""

    __spec__ = "as a module has"

    class AuthenticationError(Exception):
        message = "no token was found"

    def __init__(self, error=None):
        self.exceptions = SimpleNamespace(AuthenticationError=self.AuthenticationError)
        self._private = SimpleNamespace(worker=SimpleNamespace())
        self.error, self.asked = error, []

    def is_initialized(self):
        return False

    def shutdown(self):
        pass

    def init(self, address, **_):
        self.asked.append(address)
        raise self.error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ConnectionError("Failed to connect"),
            "no ray cluster at '{}', give HOST:PORT of one, or auto: Failed to connect",
        ),
        (RuntimeError("Version mismatch"), "no ray cluster at '{}', give HOST:PORT of one, or auto: Version mismatch"),
        (FakeRay.AuthenticationError("no"), "the ray cluster at '{}' wants a token: no token was found"),
    ],
)
def test_what_answers_but_lets_nobody_in_may_want_a_token(monkeypatch, error, said):
    monkeypatch.setitem(sys.modules, "ray", ray := FakeRay(error))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UsageError) as caught:
            make_executor("ray", 1, address=address)
    assert ray.asked == [address]
    message = str(caught.value)
    assert message.startswith(said.format(address))
    assert "\n" not in message
    for name in ("RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN ", "~/.ray/auth_token", "`ray get-auth-token`"):
        assert name in message


def test_where_nothing_answers_ray_is_not_asked_which_tries_for_minutes(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", ray := FakeRay())
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    for address in ("127.0.0.1:9", "auto", "ray://127.0.0.1:9", "nowhere"):
        with pytest.raises(
            UsageError, match=f"^no ray cluster at '{address}', give HOST:PORT of one, or auto: "
        ) as caught:
            make_executor("ray", 1, address=address)
        assert "token" not in str(caught.value)
    assert ray.asked == []


def test_a_ray_of_its_own_is_not_started_before_it_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", ray := FakeRay(ConnectionError("asked for")))
    with make_executor("ray", 1) as executor:
        assert ray.asked == []
        with pytest.raises(ConnectionError, match="asked for"):
            executor.slots  # noqa: B018
    assert ray.asked == ["local"]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_results_come_back_and_work_is_shared_out(executor):
    assert executor.slots == 2 and executor.slots_are_processes
    futures = [executor.submit(items.square, number) for number in range(50)]
    assert [future.result() for future in futures] == [number * number for number in range(50)]
    assert executor.submit(items.process).result() != os.getpid()


def test_exceptions_keep_their_type_and_message(executor):
    with pytest.raises(KeyError, match="chair"):
        executor.submit(items.raises, KeyError("chair")).result()
    with pytest.raises(NnsError, match="^OddError: code 7$"):
        executor.submit(items.raises_odd).result()
    assert executor.submit(items.square, 3).result() == 9


def test_a_killed_worker_loses_its_item_only_and_that_is_run_again(executor, tmp_path):
    names = [f"item{number}" for number in range(8)]
    futures = [executor.submit(items.noted, tmp_path, name, 0.2) for name in names[:1]]
    futures.append(executor.submit(items.dies_at_first, tmp_path, "victim"))
    futures += [executor.submit(items.noted, tmp_path, name, 0.05) for name in names[1:]]
    assert [future.result() for future in futures] == [names[0], "victim", *names[1:]]
    assert items.runs(tmp_path, "victim") == 2
    assert [items.runs(tmp_path, name) for name in names] == [1] * 8


def test_an_item_that_always_kills_its_worker_fails_alone(executor, tmp_path):
    before = [executor.submit(items.noted, tmp_path, f"before{number}", 0.3) for number in range(3)]
    poison = executor.submit(items.dies, tmp_path)
    after = [executor.submit(items.noted, tmp_path, f"after{number}", 0.3) for number in range(5)]
    with pytest.raises(WorkerLostError, match="died 3 times, at last by SIGKILL; if memory ran out, try fewer"):
        poison.result()
    assert items.runs(tmp_path, "poison") == 3
    for future in [*before, *after]:
        assert items.runs(tmp_path, future.result()) == 1


def test_a_worker_that_dies_between_items_costs_none_of_them_a_try():
    with LocalExecutor(1, initializer=items.no_preparation, retries=0) as executor:
        idle = executor.submit(items.process).result()
        os.kill(idle, signal.SIGKILL)
        assert eventually(lambda: not executor._idle[0].is_alive())
        assert executor.submit(items.process).result() != idle


def test_cancelling_ends_sleeping_workers_at_once(tmp_path):
    executor = LocalExecutor(1, initializer=items.no_preparation)
    pid_file = tmp_path / "pid"
    running, queued = (executor.submit(items.sleeps, pid_file, 60) for _ in range(2))
    assert eventually(lambda: pid_file.exists() and pid_file.read_text())
    started = time.monotonic()
    executor.shutdown(cancel=True)
    assert time.monotonic() - started < 5
    assert not is_alive(int(pid_file.read_text()))
    for future in (running, queued):
        with pytest.raises(CancelledError):
            future.result(timeout=0)


def test_cancelling_ends_a_worker_that_is_only_starting():
    executor = LocalExecutor(1)
    future = executor.submit(items.square, 2)
    assert eventually(lambda: executor._workers)
    started = time.monotonic()
    executor.shutdown(cancel=True)
    assert time.monotonic() - started < 5
    with pytest.raises(CancelledError):
        future.result(timeout=0)


def test_an_exception_on_the_way_out_cancels():
    executor = LocalExecutor(1, initializer=items.no_preparation)
    future = executor.submit(time.sleep, 60)
    with pytest.raises(KeyboardInterrupt), executor:
        raise KeyboardInterrupt
    with pytest.raises(CancelledError):
        future.result(timeout=0)


def test_ending_twice_is_no_error():
    with LocalExecutor(1, initializer=items.no_preparation) as executor:
        assert executor.submit(items.square, 2).result() == 4
        executor.shutdown(cancel=True)
        executor.shutdown()
        with pytest.raises(RuntimeError, match="shutdown"):
            executor.submit(items.square, 2)


def test_leaving_waits_for_what_was_submitted():
    with LocalExecutor(1, initializer=items.no_preparation) as executor:
        futures = [executor.submit(items.square, number) for number in range(3)]
    assert [future.result(timeout=0) for future in futures] == [0, 1, 4]


def test_workers_leave_interrupts_to_their_parent(executor):
    assert executor.submit(items.interrupts_itself).result() == "still here"


def test_workers_have_the_threads_they_are_given():
    with make_executor("local", 1, threads=3) as executor:
        assert executor.submit(items.torch_threads).result() == 3


def test_a_preparation_that_fails_is_what_the_items_fail_with():
    with LocalExecutor(1, initializer=items.failing_preparation) as executor:
        for _ in range(2):
            with pytest.raises(OSError, match="no 1 threads here"):
                executor.submit(items.square, 1).result()


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, pathlib, _executor_items as items\n"
        "from nns.building.executors import LocalExecutor\n"
        "if __name__ == '__main__':\n"
        "    executor = LocalExecutor(1, initializer=items.no_preparation)\n"
        "    executor.submit(items.sleeps, pathlib.Path(sys.argv[1]), 60).result()\n"
    )
    pid_file = tmp_path / "pid"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with subprocess.Popen([sys.executable, script, pid_file], env={**os.environ, "PYTHONPATH": path}) as parent:
        assert eventually(lambda: pid_file.exists() and pid_file.read_text())
        parent.kill()
    assert eventually(lambda: not is_alive(int(pid_file.read_text())), seconds=5)


def test_inline_runs_at_once_and_lets_interrupts_through():
    with make_executor("local", 0) as executor:
        assert isinstance(executor, InlineExecutor) and executor.slots == 1 and not executor.slots_are_processes
        done = executor.submit(items.process)
        assert done.done() and done.result() == os.getpid()
        with pytest.raises(KeyError, match="chair"):
            executor.submit(items.raises, KeyError("chair")).result()
        with pytest.raises(KeyboardInterrupt):
            executor.submit(items.raises, KeyboardInterrupt())


def test_all_futures_can_be_waited_for(executor):
    finished, left = wait([executor.submit(items.square, number) for number in range(4)])
    assert len(finished) == 4 and not left


def test_names_and_arguments():
    with pytest.raises(UnknownNameError, match=r"unknown executor 'rya'; did you mean 'ray'\? \(known: local, ray\)"):
        make_executor("rya", 1)
    with pytest.raises(UsageError, match="workers must be 0 or more, not -1"):
        make_executor("local", -1)
    with pytest.raises(UsageError, match="give `executor` ray as well"):
        make_executor("local", 1, address="auto")
    with make_executor("local", None) as executor:
        assert isinstance(executor, LocalExecutor) and executor.slots >= 1


def test_ray_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r'^`executor` ray needs ray: pip install "nns\[ray\]"$'):
        make_executor("ray", 1)


def test_another_version_of_ray_is_told_as_such(monkeypatch):
    real = (
        "Version mismatch: The cluster was started with:\n  Ray: 2.60.0\nThis process was started with:\n  Ray: 2.59.0"
    )
    monkeypatch.setitem(sys.modules, "ray", FakeRay(RuntimeError(real)))
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(UsageError) as caught:
        make_executor("ray", 1, address=f"127.0.0.1:{server.getsockname()[1]}")
    message = str(caught.value)
    assert "started with: Ray: 2.60.0 This process was started with: Ray: 2.59.0; all machines need the same" in message
    assert "token" not in message
