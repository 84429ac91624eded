"""The table: means of the test accuracy, and differences paired by task with 95 % bootstrap intervals over tasks.

python table.py ROWS.jsonl [--peers NAME,...] [--against nns]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from nns.bench.bootstrap import compare


def main() -> None:
    """Print a table for each budget, of the tasks and seeds that all its peers have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--peers")
    parser.add_argument("--against", default="nns")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.rows.read_text(encoding="utf-8").splitlines()]
    asked = args.peers.split(",") if args.peers else list(dict.fromkeys(row["peer"] for row in rows))
    for seconds in sorted({row["seconds"] for row in rows}):
        of = {(row["peer"], row["task"], row["seed"]): row for row in rows if row["seconds"] == seconds}
        peers = [peer for peer in asked if any("test" in row for row in of.values() if row["peer"] == peer)]
        _print(seconds, peers, of, args.against)
        for peer in asked:
            errors = {row["error"] for row in of.values() if row["peer"] == peer and "error" in row}
            for error in sorted(errors):
                print(f"{peer}: {error}")


def _print(seconds: float, peers: list[str], of: dict[tuple[str, str, int], dict[str, Any]], against: str) -> None:
    runs = sorted({(task, seed) for _, task, seed in of})
    shared = [run for run in runs if all("test" in of.get((peer, *run), {}) for peer in peers)]
    tasks = sorted({task for task, _ in shared})
    if not tasks:
        return

    def by_task(peer: str, what: str) -> np.ndarray:
        return np.array([np.mean([of[peer, t, seed][what] for t, seed in shared if t == task]) for task in tasks])

    print(f"\n{seconds:g} s of processor time, {len(tasks)} tasks, {len(shared)} trainings of each\n")
    print(f"| | test accuracy | {against} is ahead by | on | epochs | s used |\n| --- | --: | --: | --: | --: | --: |")
    for peer in peers:
        ahead = won = "-"
        if peer != against and against in peers:
            found = compare(100 * by_task(against, "test"), 100 * by_task(peer, "test"))
            ahead = f"{found.mean:+.1f} ({found.low:+.1f} to {found.high:+.1f})"
            won = f"{found.losses} of {len(tasks)}"  # that class compares regrets: more is a loss
        print(
            f"| {peer} | {100 * by_task(peer, 'test').mean():.1f} | {ahead} | {won} "
            f"| {by_task(peer, 'epochs').mean():.0f} | {by_task(peer, 'used').mean():.0f} |"
        )


if __name__ == "__main__":
    main()
