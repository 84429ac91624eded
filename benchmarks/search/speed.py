"""How long a search takes: cold, as a process of its own, and its parts.

python benchmarks/search/speed.py ZOO.h5 DATA [--runs 5] [--max-params 5M]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median


def main() -> None:
    """Run the command several times and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo")
    parser.add_argument("data")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--max-params", default="5M")
    args = parser.parse_args()
    nns = [sys.executable, "-c", "from nns.cli import main; main()"]
    command = [*nns, "search", args.data, "--zoo", args.zoo, "--max-params", args.max_params, "--json"]
    walls, processor, parts, answers = [], [], [], []
    for _ in range(args.runs):
        before = os.times()
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        walls.append(time.perf_counter() - started)
        after = os.times()
        processor.append(after.children_user + after.children_system - before.children_user - before.children_system)
        document = json.loads(done.stdout)
        parts.append(document.pop("seconds"))
        answers.append(document)
    limit = max(candidate["params"] for candidate in answers[0]["candidates"])
    helps = []
    for _ in range(args.runs):
        started = time.perf_counter()
        subprocess.run([*nns, "--help"], capture_output=True, check=True)
        helps.append(time.perf_counter() - started)
    images, networks = answers[0]["dataset"]["images"], answers[0]["zoo"]["networks"]
    print(f"{images} images, {networks} networks, medians of {args.runs} runs")
    print(f"cold, whole process   {median(walls):.2f} s ({median(processor):.2f} s of processor time)")
    print(f"reading and features  {median(part['features'] for part in parts):.2f} s")
    print(f"filter and score      {median(part['score'] for part in parts) * 1e3:.2f} ms")
    print(f"nns --help            {median(helps):.2f} s")
    print(f"same answer each run  {all(answer == answers[0] for answer in answers)}")
    print(f"largest candidate     {limit} parameters with its head")


if __name__ == "__main__":
    main()
