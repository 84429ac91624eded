"""nns beside fastai, timm and AutoGluon: the same folders, splits, start weights and processor time.

    python3 benchmarks/finetune/peers BANK WORK [--budgets 60,180,600] [--seeds 3] [--peers NAME,...] [--tasks FILE]

Makes its environments under WORK, then runs what is missing of WORK/rows.jsonl, each training in a process of its own
with one thread, then prints the table. Nothing but the standard library is needed to start it. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from environments import ENVIRONMENTS, make, python_of
from folders import lay

HERE = Path(__file__).parent
PEERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "fastai 96": ("peers", "fastai_peer.py", {"size": 96}),
    "fastai 224": ("peers", "fastai_peer.py", {"size": 224}),
    "timm 96": ("peers", "timm_peer.py", {"size": 96}),
    "timm 96 torch head": ("peers", "timm_peer.py", {"size": 96, "head": "torch"}),
    "timm 128": ("peers", "timm_peer.py", {"size": 128}),
    "autogluon": ("autogluon", "autogluon_peer.py", {}),
    "nns": ("peers", "nns_peer.py", {"network": "tf_efficientnet_lite0"}),
    "nns own choice": ("peers", "nns_peer.py", {}),
}
"""Environment, script and what it is given; all but the last start from the same weights."""


def main() -> int:
    """Make environments and folders, run what is missing, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path, help="what `python benchmarks/bank` wrote")
    parser.add_argument("work", type=Path, help="a folder outside the repository")
    parser.add_argument("--budgets", default="60,180,600", help="seconds of processor time")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--tasks", type=Path, default=HERE / "tasks.txt")
    parser.add_argument("--again", default="", help="peers whose rows are dropped first, as the recipe of one changed")
    args = parser.parse_args()
    work = args.work.resolve()
    if work.is_relative_to(HERE.parents[2]):
        parser.error("WORK must be outside the repository")
    work.mkdir(parents=True, exist_ok=True)
    chosen, again = args.peers.split(","), [name for name in args.again.split(",") if name]
    if unknown := {*chosen, *again} - PEERS.keys():
        parser.error(f"there is no peer {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    for name in ENVIRONMENTS:
        if name == "peers" or any(PEERS[peer][0] == name for peer in chosen):
            make(work, name)
    tasks = args.tasks.read_text(encoding="utf-8").split()
    folders = {task: lay(args.bank.resolve() / task, work, python_of(work, "peers")) for task in tasks}
    rows_file = work / "rows.jsonl"
    _drop(rows_file, again)
    wanted = [
        {"peer": peer, "task": task, "seconds": float(seconds), "seed": seed}
        for seconds in args.budgets.split(",")
        for seed in range(args.seeds)
        for task in tasks
        for peer in chosen
    ]
    done = {_key(row) for row in _read(rows_file)}
    todo = [about for about in wanted if _key(about) not in done]
    for number, about in enumerate(todo, 1):
        if _key(about) in {_key(row) for row in _read(rows_file)}:  # another call on another core has done it
            continue
        row = _run(work, folders[about["task"]], about)
        with rows_file.open("a", encoding="utf-8") as rows:
            rows.write(json.dumps(row) + "\n")
        said = f"test {100 * row['test']:.1f}, {row['epochs']} epochs" if "test" in row else row["error"]
        print(f"{number}/{len(todo)} {about['seconds']:g} s {about['task']} {about['peer']}: {said}", flush=True)
    table = [python_of(work, "peers"), HERE / "table.py", rows_file, "--peers", args.peers]
    return subprocess.run(list(map(str, table)), check=False).returncode


def _run(work: Path, folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Run one training in a process of its own; an error is a row, too, that a table says."""
    environment, script, given = PEERS[about["peer"]]
    scratch = work / f"scratch-{os.getpid()}"  # of this call alone: several may share the folder
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    out, log_file = scratch / "result.json", scratch / "log"
    settings = {**given, "folder": str(folder), "seconds": about["seconds"], "seed": about["seed"], "out": str(out)}
    began = time.monotonic()
    with log_file.open("w", encoding="utf-8") as log:
        code = subprocess.run(
            [str(python_of(work, environment)), str(HERE / script), json.dumps(settings)],
            stdout=log, stderr=subprocess.STDOUT, cwd=scratch, env=_variables(work, environment, about), check=False,
        ).returncode  # fmt: skip
    row = {**about, "wall": round(time.monotonic() - began, 1), "when": time.strftime("%Y-%m-%dT%H:%M:%S")}
    if code == 0 and out.exists():
        return {**row, **json.loads(out.read_text(encoding="utf-8"))}
    text = log_file.read_text(encoding="utf-8", errors="replace").strip()
    (work / f"error-{script}.log").write_text(text, encoding="utf-8")
    lines = text.splitlines()
    return {**row, "error": lines[-1][:300] if lines else f"exit code {code}"}


def _variables(work: Path, environment: str, about: dict[str, Any]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NNS_", "HF_", "PYTHON"))}
    nns = about["peer"].startswith("nns")
    return kept | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(work / ("no-hub" if nns else "hub")),
        "HOME": str(work / "home"),  # whatever is kept for users, none is
        "MPLCONFIGDIR": str(work / "home"),
    }


def _drop(rows: Path, peers: list[str]) -> None:
    if peers and rows.exists():
        kept = [row for row in _read(rows) if row["peer"] not in peers]
        rows.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("peer", "task", "seconds", "seed"))


if __name__ == "__main__":
    sys.exit(main())
