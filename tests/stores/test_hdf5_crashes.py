"""Several processes at once, and processes that end in the middle of what they do."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from nns.stores import HDF5Store
from nns.testing._store import sample_network, sample_space

WRITER = """
import sys
from nns.stores import HDF5Store
from nns.testing._store import sample_network, sample_space
store = HDF5Store(sys.argv[1])
print("ready", flush=True)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    store.add_network(sample_network(number))
    print(number, flush=True)
"""

MERGER = """
import sys
from nns.stores import HDF5Store
store = HDF5Store(sys.argv[1])
print("ready", flush=True)
while True:
    store.merge()
"""


def start(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def check(path, numbers):
    store = HDF5Store(path)
    expected = {sample_network(number).entry.id: number for number in numbers}
    assert set(store.ids()) >= set(expected)
    for network_id, number in expected.items():
        assert store.weights(network_id) == sample_network(number).weights
    return store


def test_writers_a_merge_and_a_reader_at_once(tmp_path):
    path, each = tmp_path / "zoo.h5", 25
    writers = [start(WRITER, path, at * each, (at + 1) * each + 5) for at in range(3)]  # five of each twice
    merger, reads = start(MERGER, path), 0
    acknowledged = [[] for _ in writers]

    def collect(at):
        acknowledged[at] += [int(line) for line in writers[at].stdout if line.strip().isdigit()]

    threads = [threading.Thread(target=collect, args=(at,)) for at in range(3)]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            known = [number for numbers in acknowledged for number in numbers]
            store = check(path, known[-10:])
            assert len(set(store.ids())) == len(store.ids()) == len(store.entries()) == len(store.kernels())
            reads += 1
    finally:
        merger.kill()
        for process in (*writers, merger):
            process.wait()
            process.stdout.close()
    assert [process.returncode for process in writers] == [0, 0, 0]
    assert reads > 1
    HDF5Store(path).merge()
    assert len(check(path, range(3 * each + 5)).ids()) == 3 * each + 5
    left = list((tmp_path / "zoo.h5.journal").glob("*.h5"))  # at most what the killed merge was writing
    assert all(item.name.startswith("tmp-") for item in left)


@pytest.mark.parametrize("seed", range(4))
def test_killed_writer_and_merge(tmp_path, seed):
    path, wait = tmp_path / "zoo.h5", random.Random(seed)
    writer, merger = start(WRITER, path, 0, 10_000), start(MERGER, path)
    for process in (writer, merger):
        assert process.stdout.readline() == "ready\n"
    time.sleep(wait.uniform(0.02, 0.25))
    for process in wait.sample([writer, merger], 2):
        process.send_signal(signal.SIGKILL)
        process.wait()
    acknowledged = [int(line) for line in writer.stdout.read().splitlines()]
    writer.stdout.close()
    merger.stdout.close()
    store = check(path, acknowledged)
    assert len(store.ids()) <= len(acknowledged) + 1
    before = store.digest()
    store.merge()
    assert store.digest() == before


STEPS = ("fsync", "link", "unlink", "rename", "replace", "mkdir", "rmdir", "pwrite", "copy_file_range")


def crash_after(steps, work):
    """Run ``work(acknowledge)`` in a fork that ends without any cleaning up before its n-th step on the disk."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        left = steps

        def counted(step):
            def call(*arguments, **named):
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(9)
                return step(*arguments, **named)

            return call

        try:
            for name in STEPS:
                setattr(os, name, counted(getattr(os, name)))
            work(lambda what: os.write(write, f"{what}\n".encode()))
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as lines:
        acknowledged = lines.read().split()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), acknowledged


def test_crash_before_every_step(tmp_path):
    """Whatever the step, what was acknowledged is there, and nothing is damaged."""

    def work(acknowledge):
        store = HDF5Store(path)
        store.add_network(sample_network(1))
        acknowledge("network")
        store.put_space(sample_space("default", 1))
        store.put_space(sample_space("default", 2))
        acknowledge("space")
        store.merge()
        acknowledge("merge")
        store.put_space(sample_space("default", 3))
        acknowledge("again")
        store.add_network(sample_network(2))
        acknowledge("second")
        store.merge()

    code, step = 9, 0
    while code == 9:
        path = tmp_path / str(step) / "zoo.h5"
        path.parent.mkdir()
        code, acknowledged = crash_after(step, work)
        assert code in (0, 9)
        store = check(path, {"network": [1], "second": [2]}.get(acknowledged[-1], []) if acknowledged else [])
        if "network" in acknowledged:
            check(path, [1])
        if "space" in acknowledged:
            assert store.space("default").settings["seed"] >= (3 if "again" in acknowledged else 2)
        store.merge()
        assert len(check(path, [1] if "network" in acknowledged else []).ids()) == len(store.ids())
        if "space" in acknowledged:
            assert store.space("default").settings["seed"] >= (3 if "again" in acknowledged else 2)
        step += 1
    assert step > 40
    assert acknowledged == ["network", "space", "merge", "again", "second"]
