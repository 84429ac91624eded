"""Is it the same zoo whatever happened on the way? One recipe, built in many ways; prints each content digest.

    python benchmarks/build/same_zoo.py BANK [--tasks 3] [--interruptions 20] [--only WAY...] [--output FILE.json]

The ways: in one process; 1, 2 and 4 local workers; interrupted by Ctrl-C again and again; killed with SIGKILL again and
again; on a ray cluster of two nodes; on one of which a node is killed in the middle. Exits with 1 if two differ.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RECIPE = """
data = {data}
backends = ["ofa", "timm"]
networks = {networks}
round = {round}
image_size = 32
max_images = 60
epochs = 3
transfers = 6
transfer_epochs = 1
pretrained = false

[spaces.ofa]
candidates = 6
epochs = 1

[spaces.timm]
architectures = ["mobilenetv3_small_050", "lcnet_050", "tinynet_e", "mnasnet_small"]
"""


def command(zoo: Path, recipe: Path, *more: str) -> list[str]:
    """Return the command that builds or goes on."""
    nns = Path(sys.executable).with_name("nns")
    return [str(nns), "zoo", "build", str(zoo), "--recipe", str(recipe), "--json", *more]


def build(zoo: Path, recipe: Path, *more: str) -> dict[str, Any]:
    """Build to the end."""
    done = subprocess.run(command(zoo, recipe, *more), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(more)}: exit {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def stopped(zoo: Path, recipe: Path, how: signal.Signals, times: int) -> dict[str, Any]:
    """Build, but send a signal again and again, each time after the log has some more finished items."""
    log = zoo.with_suffix(".log")
    count = 0
    while count < times:
        before = finished(log)
        process = subprocess.Popen(
            command(zoo, recipe, "--workers", "2", "--log", str(log)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while process.poll() is None and finished(log) <= before:
            time.sleep(0.05)
        time.sleep(0.1 * (count % 5))
        if process.poll() is not None:
            break
        if how is signal.SIGINT:
            process.send_signal(how)
        else:
            os.killpg(process.pid, how)
        process.wait()
        count += 1
    return build(zoo, recipe, "--workers", "2") | {"interruptions": count}


def finished(log: Path) -> int:
    """Count the items that a log says are finished."""
    if not log.exists():
        return 0
    events = [json.loads(line)["event"] for line in log.read_text().splitlines() if line.endswith("}")]
    return sum(event in ("network", "transfer") for event in events)


@contextmanager
def cluster() -> Iterator[tuple[str, Callable[[], None]]]:
    """Start two ray nodes of one CPU each; give the address and what kills the second."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = nodes.add_node(num_cpus=1)
    try:
        yield nodes.address, lambda: nodes.remove_node(second, allow_graceful=False)
    finally:
        nodes.shutdown()


def on_ray(zoo: Path, recipe: Path, kill: bool) -> dict[str, Any]:
    """Build on two nodes; kill one when a third of the networks are there."""
    with cluster() as (address, kill_node):
        log = zoo.with_suffix(".log")
        more = ("--executor", "ray", "--address", address, "--log", str(log))
        process = subprocess.Popen(
            command(zoo, recipe, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while kill and process.poll() is None and finished(log) < 4:
            time.sleep(0.1)
        if kill:
            kill_node()
        out, err = process.communicate()
        if process.returncode:
            raise RuntimeError(f"ray: exit {process.returncode}: {err[-2000:]}")
        found: dict[str, Any] = json.loads(out)
        return found


def main() -> None:
    """Build in every way and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--networks", type=int, default=18)
    parser.add_argument("--interruptions", type=int, default=20)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    names = Path(__file__).parents[1].joinpath("zoo", "tasks.txt").read_text(encoding="utf-8").split()
    data = [str((args.bank / names[i * len(names) // args.tasks]).resolve()) for i in range(args.tasks)]
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder, "recipe.toml")
        recipe.write_text(RECIPE.format(data=json.dumps(data), networks=args.networks, round=args.networks // 6))
        ways: dict[str, Callable[[Path], dict[str, Any]]] = {
            "one process": lambda zoo: build(zoo, recipe, "--workers", "0"),
            "1 worker": lambda zoo: build(zoo, recipe, "--workers", "1"),
            "2 workers": lambda zoo: build(zoo, recipe, "--workers", "2"),
            "4 workers": lambda zoo: build(zoo, recipe, "--workers", "4"),
            "Ctrl-C": lambda zoo: stopped(zoo, recipe, signal.SIGINT, args.interruptions),
            "SIGKILL": lambda zoo: stopped(zoo, recipe, signal.SIGKILL, args.interruptions),
            "ray, 2 nodes": lambda zoo: on_ray(zoo, recipe, kill=False),
            "ray, one of 2 nodes killed": lambda zoo: on_ray(zoo, recipe, kill=True),
        }
        for way, make in ways.items():
            if args.only and way not in args.only:
                continue
            started = time.perf_counter()
            report = make(Path(folder, way.replace(" ", "-").replace(",", "") + ".h5"))
            wanted = ("digest", "networks", "transfers", "failed", "interruptions")
            rows[way] = {key: report[key] for key in wanted if key in report}
            rows[way]["seconds"] = round(time.perf_counter() - started, 1)
            print(f"{way}: {rows[way]}", flush=True)
            args.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if len({row["digest"] for row in rows.values()}) > 1 or any(row["failed"] for row in rows.values()):
        sys.exit("not the same zoo")


if __name__ == "__main__":
    main()
