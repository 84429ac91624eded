"""A build on a cluster of two hosts, namespaces of this machine, with a token; the second has no images, and is lost.

Run with ``pytest -m slow tests/building/test_cluster.py`` as root, with the extra ``ray``; three to ten minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nns.testing import tiny_image_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KEEP = """
mount --make-rprivate /
hostname {name}
mkdir -p /tmp/ray "$HOME/.ray" {data}
mount -t tmpfs tmpfs /tmp/ray
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs "$HOME/.ray"
{hide}
exec sleep 1000000
"""


def call(*command, **more):
    return subprocess.run([str(word) for word in command], check=True, text=True, capture_output=True, **more).stdout


class Host:
    """A machine, as far as Linux lets one be several: its first process is process 1 of its namespace."""

    def __init__(self, number, data, hidden):
        self.name, self.address, self.hidden, self.data = f"nnshost{number}", f"10.77.0.{number}", hidden, data
        self.boot()

    def boot(self, shared_gone=None):
        hide = f"mount -t tmpfs tmpfs {self.data}" if self.hidden else ""
        hide += f"\nmount -t tmpfs tmpfs {shared_gone}" if shared_gone else ""
        script = KEEP.format(name=self.name, data=self.data, hide=hide)
        unshare = [
            "unshare",
            "--mount",
            "--uts",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "bash",
            "-c",
            script,
        ]
        self.outer = subprocess.Popen(["ip", "netns", "exec", self.name, *unshare])
        for _ in range(100):
            for each in call("ip", "netns", "pids", self.name).split():
                status = Path(f"/proc/{each}/status").read_text()
                if "\tsleep\n" in status.splitlines(keepends=True)[0] and status.split("NSpid:")[1].split()[1] == "1":
                    self.first = int(each)
                    return
            time.sleep(0.1)
        raise TimeoutError(self.name)

    def run(self, *command, token=None, check=True, **more):
        """Run a command of this environment on it; with the token it is let in."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", **more}
        if token:
            env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        inside = ["nsenter", "-t", str(self.first), "-n", "-m", "-u", "-p", *map(str, command)]
        return subprocess.run(inside, env=env, check=check, text=True, capture_output=True)

    def start_ray(self, *where, token, **more):
        few = ("--num-cpus", 1, "--object-store-memory", 80 * 2**20, "--node-ip-address", self.address)
        self.run("ray", "start", *where, *few, token=token, **more)

    def lose(self):
        """Kill all that runs on it, as a cut of power would."""
        os.kill(self.first, 9)
        self.outer.wait()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("only-on-the-head")
    for seed, name in enumerate("ab"):
        tiny_image_folder(folder / name, classes=2, per_class=40, seed=seed)
    return folder


@pytest.fixture(scope="module")
def hosts(data):
    pytest.importorskip("ray")
    if os.geteuid() or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        pytest.skip("namespaces are for root")
    names = ["nnshost1", "nnshost2"]
    try:
        for name in names:
            call("ip", "netns", "add", name)
        call("ip", "link", "add", "nnsveth1", "type", "veth", "peer", "name", "nnsveth2")
        for number, name in enumerate(names, 1):
            call("ip", "link", "set", f"nnsveth{number}", "netns", name)
            call("ip", "-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", f"nnsveth{number}")
            call("ip", "-n", name, "link", "set", f"nnsveth{number}", "up")
            call("ip", "-n", name, "link", "set", "lo", "up")
        made = [Host(1, data, hidden=False), Host(2, data, hidden=True)]
        yield made
        for each in made:
            if each.outer.poll() is None:
                each.lose()
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


OPTIONS = [
    "--backend",
    "timm",
    "--networks",
    "8",
    "--epochs",
    "2",
    "--image-size",
    "32",
    "--transfers",
    "2",
    "--no-pretrained",
    "--json",
]


def build(host, zoo, data, *more, token, check=True):
    command = ["nns", "zoo", "build", zoo, "--data", data / "a", data / "b", *OPTIONS, *more]
    return host.run(*command, token=token, check=check)


def test_a_cluster_of_two_hosts_builds_what_one_would(hosts, data, tmp_path):
    first, second = hosts
    token = first.run("ray", "get-auth-token", "--generate").stdout.strip()
    first.start_ray("--head", "--port", 6379, "--include-dashboard=false", token=token)
    cluster = ("--executor", "ray", "--address", f"{first.address}:6379")

    # another nns, and another disk: refused, before anything is trained
    other = tmp_path / "other" / "nns-0.0.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: nns\nVersion: 0.0.9\n")
    second.lose()
    shared = tmp_path / "shared"
    shared.mkdir()
    second.boot(shared_gone=shared)
    path = f"{other.parent}:{os.environ.get('PYTHONPATH', '')}"
    second.start_ray("--address", f"{first.address}:6379", token=token, PYTHONPATH=path)
    refused = build(first, shared / "zoo.h5", data, *cluster, token=token, check=False)
    assert refused.returncode == 2
    assert "10.77.0.2 (nnshost2) has nns 0.0.9, this machine nns " in refused.stderr
    assert f"10.77.0.2 (nnshost2) does not see {shared}/zoo.h5.images" in refused.stderr
    assert not list(shared.iterdir())

    # without the token: refused
    refused = build(first, shared / "zoo.h5", data, *cluster, token=None, check=False)
    assert refused.returncode == 2 and "token" in refused.stderr

    # a second machine that has no images, and is lost in the middle
    second.lose()
    second.boot()
    second.start_ray("--address", f"{first.address}:6379", token=token)
    assert not list(Path(f"/proc/{second.first}/root{data}").iterdir())
    log = tmp_path / "log"
    from threading import Thread

    found = {}
    building = Thread(
        target=lambda: found.update(
            report=build(first, shared / "zoo.h5", data, *cluster, "--log", log, token=token, check=False)
        )
    )
    building.start()
    while building.is_alive() and (not log.exists() or '"event": "network"' not in log.read_text()):
        time.sleep(0.05)
    second.lose()
    building.join()
    assert found["report"].returncode == 0, found["report"].stderr[-3000:]
    report = json.loads(found["report"].stdout)
    assert (report["networks"], report["transfers"], report["failed"]) == (8, 2, [])

    alone = json.loads(build(first, tmp_path / "alone.h5", data, "--workers", 1, token=None).stdout)
    assert alone["digest"] == report["digest"]
