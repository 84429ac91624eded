"""What a zoo does when the disk is full, may not be written, or holds what another version or machine has left."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import resource
import shutil
import stat
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager

import h5py  # noqa: F401  loaded before a child becomes a user who may not read the packages of this one
import pytest

import nns.cli.app  # noqa: F401  likewise
from nns.errors import ZooError
from nns.stores import HDF5Store
from nns.stores.hdf5.columns import write_file
from nns.stores.hdf5.shards import header
from nns.testing._store import sample_dataset, sample_network, sample_space
from nns.types import LatencyRecord, SupernetRecord, TransferRecord
from nns.zoo import verify

NOBODY = 65534


def big(number, seed=0):
    """A network of about 60 KB."""
    import numpy as np
    from safetensors.numpy import save

    record = sample_network(number, seed)
    weights = save({"w": np.random.default_rng([number, seed]).standard_normal(15_000).astype(np.float32)})
    return type(record)(record.entry, record.fingerprint, weights)


def supernet(number):
    record = big(100 + number)
    return SupernetRecord(record.entry, record.weights)


WRITES = {
    "add": lambda store: store.add_network(big(8)),
    "add many": lambda store: store.add_all([big(8), big(9)]),
    "supernet": lambda store: store.add_supernet(supernet(1)),
    "dataset": lambda store: store.add_dataset(sample_dataset("new")),
    "space": lambda store: store.put_space(sample_space("default", 2)),
    "latency": lambda store: store.put_latencies([LatencyRecord("a", "cpu", 0.75)]),
    "transfer": lambda store: store.put_transfers([TransferRecord("a", "b", "c", 0.5, 1, {})]),
    "merge": lambda store: store.merge(),
    "remove": lambda store: store.remove([big(1).entry.id]),
    "collect": lambda store: store.collect_garbage(),
}
"""All ways to write. Each changes something in the zoo that ``fill`` makes."""


def fill(path):
    """Make a zoo with something in the file and something in the journal."""
    store = HDF5Store(path)
    store.add_all([big(number) for number in range(4)])
    store.put_space(sample_space("default", 1))
    store.merge()
    store.add_network(big(4))
    store.put_latencies([LatencyRecord("a", "cpu", 0.5)])
    return store


def contents(path):
    """All that a zoo holds, read anew; also checks that all of it is whole."""
    with HDF5Store(path) as store:
        assert list(store.damage()) == []
        assert list(verify(store)) == []
        latencies = {device: store.latencies(device) for device in store.devices()}
        spaces = {name: store.space(name).settings["seed"] for name in store.spaces()}
        return store.digest(), store.ids(), latencies, spaces, len(store.supernets()), len(store.transfers())


def refused(write, path, why):
    """Do a write; gives what was said if it was refused, on one line that says why; else nothing."""
    try:
        write(HDF5Store(path))
    except ZooError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 400
        assert why in str(error)
        return str(error)
    return ""


def reference(write, folder):
    """The contents of the zoo before and after a write."""
    path = folder / "reference" / "zoo.h5"
    path.parent.mkdir()
    before = contents(fill(path).path)
    write(HDF5Store(path))
    return before, contents(path)


def copy_of_zoo(source, target):
    target.parent.mkdir()
    shutil.copy(source, target)
    shutil.copytree(f"{source}.journal", f"{target}.journal")
    return target


def in_child(work, user=None):
    """Do something in a child, which may be another user; gives what came of it. A crash is a failure of the test."""
    read, told = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            if user is not None and os.geteuid() == 0:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            result = pickle.dumps(work())
            gc.collect()  # what HDF5 has not closed, it ends the process for
            with os.fdopen(told, "wb") as pipe:
                pipe.write(result)
            code = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(told)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return pickle.loads(data)


# a full disk


@contextmanager
def small_disk(folder, size):
    """A file system of its own with some bytes; needs root."""
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder]).returncode:
        pytest.skip("needs to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("name", WRITES)
def test_full_disk(tmp_path, name):
    """Whatever is left on the disk, a write is done or refused, and done once there is room again."""
    write = WRITES[name]
    before, after = reference(write, tmp_path)
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        path, ballast, refusals = fill(disk / "zoo.h5").path, disk / "ballast", 0
        for left in (0, 4, 8, 16, 32, 64, 128, 256, 512):
            free = os.statvfs(disk)
            ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_bsize - (left << 10))))
            no = in_child(lambda: refused(write, path, "No space left on device"))
            found = contents(path)
            assert found == (before if no else after)
            refusals += bool(no)
            ballast.unlink()
            assert not list(disk.glob("*.journal/tmp-*"))
            if not no:
                break
        assert refusals
        if name != "remove" or found == before:
            write(HDF5Store(path))
        assert contents(path) == after


STEPS = ("fsync", "link", "replace", "mkdir", "pwrite", "copy_file_range", "open", "unlink", "rmdir")


@contextmanager
def failing(number, code):
    """Let the n-th step on the disk fail; gives the names of the steps taken."""
    taken = []

    def counted(name, call):
        def step(*arguments, **named):
            if name != "open" or arguments[1] & (os.O_CREAT | os.O_RDWR | os.O_WRONLY):
                taken.append(name)
                if len(taken) == number + 1:
                    raise OSError(code, os.strerror(code))
            return call(*arguments, **named)

        return step

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, counted(name, getattr(os, name)))
        yield taken


def chosen_steps(taken):
    """All steps, but of many writes in a row only the first and the last."""
    return [
        at
        for at, step in enumerate(taken)
        if step not in ("pwrite", "copy_file_range") or taken[at - 1 : at + 2] != [step] * 3
    ]


@pytest.mark.parametrize("name", WRITES)
def test_a_step_that_fails(tmp_path, name):
    """Whichever step it is, a write is refused, and what was there is there. An fsync that failed says nothing."""
    write = WRITES[name]
    before, after = reference(write, tmp_path)
    original = fill(tmp_path / "zoo.h5").path
    with failing(-1, 0) as taken:
        write(HDF5Store(copy_of_zoo(original, tmp_path / "whole" / "zoo.h5")))
    assert len(taken) > 2
    for number in chosen_steps(taken):
        path = copy_of_zoo(original, tmp_path / str(number) / "zoo.h5")
        with failing(number, errno.ENOSPC):
            no = refused(write, path, "No space left on device")
        found = contents(path)
        # whatever is said about the state is true
        assert found == (after if not no or "is written" in no else before), (taken[number], no)
        assert "nothing was changed" not in no
        if name != "remove" or found == before:
            write(HDF5Store(path))
        assert contents(path) == after


@pytest.mark.parametrize("name", WRITES)
def test_a_limit_on_the_size_of_files(tmp_path, name):
    """A limit is met in the middle of what HDF5 writes as well."""
    write = WRITES[name]
    before, after = reference(write, tmp_path)
    original, refusals = fill(tmp_path / "zoo.h5").path, 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (1, 700, 3_000, 9_000, 30_000, 100_000, 200_000):
        path = copy_of_zoo(original, tmp_path / str(size) / "zoo.h5")

        def limited(size=size, path=path):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
            no = refused(write, path, "File too large")
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            return no

        no = in_child(limited)
        refusals += bool(no)
        assert contents(path) == (before if no else after)
        assert not list(path.parent.glob("*.journal/tmp-*"))
    assert refusals


# what may not be written


def set_modes(folder, folders, files):
    for item in (folder, *folder.rglob("*")):
        item.chmod(folders if item.is_dir() else files)


@pytest.fixture
def read_only(tmp_path):
    """A zoo that may be read only."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    path = fill(folder / "zoo.h5").path
    tmp_path.chmod(0o755)
    set_modes(folder, 0o555, 0o444)
    yield path
    set_modes(folder, 0o755, 0o644)


def test_a_folder_that_is_read_only(read_only):
    def work():
        found, refusals = contents(read_only), {}
        for name, write in WRITES.items():
            refusals[name] = bool(refused(write, read_only, "Permission denied"))
        return found, refusals

    before = contents(read_only)
    found, refusals = in_child(work, NOBODY)
    assert found == before
    assert refusals == dict.fromkeys(WRITES, True)
    assert contents(read_only) == before


def test_a_journal_that_cannot_be_read(read_only):
    read_only.with_name("zoo.h5.journal").chmod(0o000)
    assert in_child(lambda: refused(lambda store: store.ids(), read_only, "Permission denied"), NOBODY)


def test_a_file_that_cannot_be_read(read_only):
    read_only.chmod(0o000)
    assert in_child(lambda: refused(lambda store: store.ids(), read_only, "Permission denied"), NOBODY)


def test_a_file_that_is_read_only_in_a_folder_that_is_not(tmp_path):
    """The mode of the file does not keep it from being replaced, as with any file; the new one has it as well."""
    path = fill(tmp_path / "zoo.h5").path
    path.chmod(0o444)
    contents(path)
    HDF5Store(path).merge()
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    contents(path)


def test_a_file_system_that_is_read_only(tmp_path):
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        path = fill(disk / "zoo.h5").path
        before = contents(path)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert contents(path) == before
        for write in WRITES.values():
            assert refused(write, path, "Read-only file system")


# what others have left


def test_a_journal_whose_file_is_gone(tmp_path):
    """What was in the file is lost; that must not pass for a zoo that never had more."""
    path = fill(tmp_path / "zoo.h5").path
    path.unlink()
    with pytest.raises(ZooError, match=r"zoo\.h5") as caught:
        HDF5Store(path, must_exist=True).ids()
    assert "\n" not in str(caught.value)
    assert verify_fails(path)
    for write in WRITES.values():
        assert refused(write, path, "zoo.h5")
    assert not path.exists()


def verify_fails(path):
    from nns.zoo import verify_path

    return bool(verify_path(path))


def test_a_journal_that_never_had_a_file(tmp_path):
    path = tmp_path / "zoo.h5"
    HDF5Store(path).add_network(big(1))
    assert list(HDF5Store(path, must_exist=True).ids()) == [big(1).entry.id]
    assert not verify_fails(path)


def test_a_file_whose_journal_is_gone(tmp_path):
    path = fill(tmp_path / "zoo.h5").path
    shutil.rmtree(path.with_name("zoo.h5.journal"))
    assert len(HDF5Store(path).ids()) == 4
    contents(path)


OLDER = "has zoo format version 1, this nns reads 2"


def old_zoo(folder):
    """A file and a shard that say they are of version 1: nothing else of them is looked at."""
    journal = folder / "zoo.h5.journal"
    journal.mkdir()
    for path in (folder / "zoo.h5", journal / "network-0000000000000007.h5"):
        write_file(path, {}, {**header({}), "version": 1})
    return folder / "zoo.h5"


def old_journal(folder):
    path = old_zoo(folder)
    path.unlink()
    return path


def old_shard_in_a_new_zoo(folder):
    path = old_zoo(folder)
    path.unlink()
    made = HDF5Store(folder / "made.h5")
    made.add_network(big(1))
    made.merge()
    os.rename(made.path, path)
    return path


APPENDED = ("supernet", "space", "latency", "transfer")
"""What is written without a look at what is there."""


@pytest.mark.parametrize("make", [old_journal, old_shard_in_a_new_zoo])
@pytest.mark.parametrize("name", APPENDED)
def test_what_is_appended_beside_an_older_version(tmp_path, make, name):
    """Refused, or there once the shards of the older version are gone."""
    path = make(tmp_path)
    if not refused(WRITES[name], path, OLDER):
        assert refused(lambda store: store.ids(), path, OLDER)
        path.with_name("zoo.h5.journal").joinpath("network-0000000000000007.h5").unlink()
        store = HDF5Store(path)
        shown = {
            "supernet": lambda: len(store.supernets()) == 1,
            "space": lambda: store.space("default").settings["seed"] == 2,
            "latency": lambda: store.latencies("cpu") == {"a": 0.75},
            "transfer": lambda: [record.accuracy for record in store.transfers()] == [0.5],
        }
        assert shown[name]()


@pytest.mark.parametrize("make", [old_zoo, old_journal, old_shard_in_a_new_zoo])
def test_an_older_version(tmp_path, make):
    """Refused by its version, whatever is asked of it, and left as it is."""
    path = make(tmp_path)
    before = {item: item.read_bytes() for item in tmp_path.rglob("*.h5") if item.is_file()}
    reads = [lambda store: store.ids(), lambda store: store.graphs(), lambda store: store.spaces()]
    writes = [write for name, write in WRITES.items() if make is old_zoo or name not in APPENDED]
    for work in (*reads, *writes):
        assert refused(work, path, OLDER)
    assert {item: item.read_bytes() for item in tmp_path.rglob("*.h5") if item.is_file()} == before


@pytest.mark.parametrize("make", [old_zoo, old_journal, old_shard_in_a_new_zoo])
@pytest.mark.parametrize("command", [("ls",), ("info",), ("gc",), ("rm", "0000000000000001", "--yes")])
def test_an_older_version_on_the_command_line(tmp_path, nns, make, command):
    path = make(tmp_path)
    ran = nns("zoo", command[0], path, *command[1:])
    assert ran.code == 4
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert OLDER in ran.err


@pytest.mark.parametrize("make", [old_zoo, old_journal, old_shard_in_a_new_zoo])
def test_verifying_an_older_version(tmp_path, nns, make):
    ran = nns("zoo", "verify", make(tmp_path), "--json")
    assert ran.code == 4
    assert not ran.json["ok"]
    assert OLDER in ran.json["problems"][0]["what"]


def test_a_full_disk_on_the_command_line(tmp_path, nns, monkeypatch):
    path, out = fill(tmp_path / "zoo.h5").path, tmp_path / "out.h5"

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for arguments in (("gc", path), ("merge", out, path)):
        ran = nns("zoo", *arguments)
        assert ran.code == 4
        assert ran.err.splitlines()[-1].startswith("error: ")
        assert "No space left on device" in ran.err
        assert "Traceback" not in ran.err


def test_a_read_only_zoo_on_the_command_line(read_only):
    """In a process of its own, as another user where there is one."""

    def run(*arguments):
        def work():
            import io
            from contextlib import redirect_stderr, redirect_stdout

            from nns.cli import main

            sys.argv = ["nns", "zoo", *map(str, arguments)]
            with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
                try:
                    main()
                except SystemExit as ended:
                    return ended.code or 0, out.getvalue(), err.getvalue()
            return 0, out.getvalue(), err.getvalue()

        return in_child(work, NOBODY)

    assert run("ls", read_only)[0] == 0
    assert run("verify", read_only)[0] == 0
    for arguments in (("gc", read_only), ("rm", read_only, big(1).entry.id, "--yes")):
        code, _, err = run(*arguments)
        assert code == 4
        assert err.splitlines()[-1].startswith("error: ")
        assert "Permission denied" in err
        assert "Traceback" not in err


# clocks


HOUR = 3600 * 10**9


@pytest.mark.parametrize("skew", [-48 * HOUR, -HOUR, HOUR, 48 * HOUR])
@pytest.mark.parametrize("merged", [False, True])
def test_clocks_apart(tmp_path, monkeypatch, skew, merged):
    """The write that was acknowledged last wins, whatever the clocks of the writers say."""
    path, real, seeds = tmp_path / "zoo.h5", time.time_ns, iter(range(1, 20))
    for _ in range(3):
        for offset in (0, skew):
            monkeypatch.setattr(time, "time_ns", lambda offset=offset: real() + offset)
            seed = next(seeds)
            store = HDF5Store(path)
            store.put_space(sample_space("default", seed))
            store.put_latencies([LatencyRecord("a", "cpu", float(seed))])
            store.put_transfers([TransferRecord("a", "b", "c", seed / 100, 1, {})])
            if merged:
                store.merge()
            fresh = HDF5Store(path)
            assert fresh.space("default").settings["seed"] == seed
            assert fresh.latencies("cpu") == {"a": float(seed)}
            assert [record.accuracy for record in fresh.transfers()] == [seed / 100]


@pytest.mark.parametrize("skew", [-48 * HOUR, 48 * HOUR])
def test_a_merge_with_another_clock_leaves_what_is_being_written(tmp_path, monkeypatch, skew):
    """A file that a writer has just begun is no rest of a crash, whatever the clock of the merge says."""
    path, real, link = tmp_path / "zoo.h5", time.time, os.link
    HDF5Store(path).add_network(big(1))

    def merge_first(source, target):
        monkeypatch.setattr(os, "link", link)
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: real() + skew / 10**9)
            patch.setattr(time, "time_ns", lambda: int((real() + skew / 10**9) * 10**9))
            HDF5Store(path).merge()
            HDF5Store(path).collect_garbage()
        assert source.exists()
        link(source, target)

    monkeypatch.setattr(os, "link", merge_first)
    HDF5Store(path).add_network(big(2))
    assert len(HDF5Store(path).ids()) == 2


def test_only_old_rests_of_crashes_are_swept(tmp_path):
    """Old by the clock of the file system, on which both times are."""
    store = fill(tmp_path / "zoo.h5")
    journal = tmp_path / "zoo.h5.journal"
    ages = {"tmp-1-future.h5": -7200, "tmp-1-now.h5": 0, "tmp-1-minutes.h5": 1800, "tmp-1-old.h5": 7200}
    for name, age in ages.items():
        (journal / name).write_bytes(b"unfinished")
        os.utime(journal / name, (time.time() - age,) * 2)
    store.merge()
    assert sorted(item.name for item in journal.glob("tmp-*")) == sorted(set(ages) - {"tmp-1-old.h5"})


def test_what_killed_merges_left_is_swept_by_the_next(tmp_path):
    """Whoever has the lock knows that no other merge runs; a batch is kept as long as somebody has it locked."""
    import fcntl

    store = fill(tmp_path / "zoo.h5")
    journal = tmp_path / "zoo.h5.journal"
    names = [f"tmp-1-{kind}.h5" for kind in ("merge-one", "merge-two", "batch-left", "batch-used", "now")]
    for name in names:
        (journal / name).write_bytes(b"unfinished")
    with (journal / "tmp-1-batch-used.h5").open("rb") as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        store.merge()
        left = {"tmp-1-batch-used.h5", "tmp-1-now.h5"}
        assert {item.name for item in journal.glob("tmp-*")} == left
    (tmp_path / "zoo.h5.journal" / "tmp-1-now.h5").unlink()
    assert HDF5Store(tmp_path / "zoo.h5").collect_garbage().files == ("tmp-1-batch-used.h5",)
    assert not journal.exists()


def test_a_killed_merge_leaves_what_the_next_one_takes_away(tmp_path):
    path = tmp_path / "zoo.h5"
    code = """
import os, sys
from nns.stores import HDF5Store
from nns.stores.hdf5 import merge
merge._confirm_written = lambda *_: os._exit(9)
HDF5Store(sys.argv[1]).merge()
"""
    store = fill(path)
    digest = store.digest()
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert len(list(tmp_path.glob("zoo.h5.journal/tmp-*"))) == 1
    store.merge()
    assert (store.digest(), sorted(os.listdir(tmp_path))) == (digest, ["zoo.h5"])


def test_a_batch_is_locked_while_it_is_used(tmp_path, monkeypatch):
    """A sweep that comes between must not take it."""
    from nns.stores.hdf5 import store as module

    path, absorb = tmp_path / "zoo.h5", module.absorb
    fill(path).merge()

    def sweep_first(*arguments, **more):
        HDF5Store(path).merge()
        assert len(list(tmp_path.glob("zoo.h5.journal/tmp-*-batch-*"))) == 1
        absorb(*arguments, **more)

    monkeypatch.setattr(module, "absorb", sweep_first)
    HDF5Store(path).add_all([sample_network(77)])
    assert sample_network(77).entry.id in HDF5Store(path).ids()
    assert sorted(os.listdir(tmp_path)) == ["zoo.h5"]
