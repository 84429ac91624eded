"""How long loading a space, filtering and scoring take, in processor time: in new processes, and in ones that searched.

    OMP_NUM_THREADS=1 python benchmarks/search/scoring.py ZOO.h5 DATA [--runs 5] [--max-params 5M]

Each run is a process of its own that searches three times, each time in a zoo opened anew. The clock is the one of the
search, made to count processor time, so that other work on the machine counts less.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from statistics import median

SEARCHES = 3


def main() -> None:
    """Start the processes, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo")
    parser.add_argument("data")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--max-params", default="5M")
    parser.add_argument("--one", action="store_true", help="be one of the processes")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(milliseconds(args.zoo, args.data, args.max_params)))
        return
    command = [sys.executable, __file__, args.zoo, args.data, "--max-params", args.max_params, "--one"]
    found = [json.loads(subprocess.check_output(command)) for _ in range(args.runs)]
    print(f"new process           {median(first for first, *_ in found):.1f} ms, {[first for first, *_ in found]}")
    print(f"has searched before   {median(last for *_, last in found):.1f} ms, {[last for *_, last in found]}")


def milliseconds(zoo: str, data: str, max_params: str) -> list[float]:
    """Search several times; loading the space, filter and scores of each, in milliseconds."""
    import nns

    clock, time.perf_counter = time.perf_counter, time.process_time
    try:
        found = [nns.search(data, nns.Zoo(zoo), max_params=max_params) for _ in range(SEARCHES)]
    finally:
        time.perf_counter = clock
    return [round(result.seconds.score * 1e3, 1) for result in found]


if __name__ == "__main__":
    main()
