"""What the threads that nns chooses cost, beside fixed one and two, with 0, 1 and 2 busy neighbours.

    python benchmarks/threads [--neighbours 0 1 2] [--repeats 3] [--json FILE]

Of each command the part that computes, without the seconds in which Python imports torch: they would hide all else. One
process for each policy, as the command line begins it (threads wait passively); they take turns, so that what else the
machine does meets all alike. A neighbour is a process that counts. The policy measures anew in each run, as a command
does. What counts is images or steps a second, as a share of the better of one and two threads: the median of the runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

POLICIES: dict[str, dict[str, str]] = {"nns": {}, "1": {"OMP_NUM_THREADS": "1"}, "2": {"OMP_NUM_THREADS": "2"}}
COMMANDS = ("search", "probe", "finetune", "finetune small", "predict", "space fit")
SIZE = 96


def main() -> None:
    """Run all, print a table, and write the seconds of each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neighbours", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--commands", nargs="*", default=list(COMMANDS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        _work()
        return
    workers = {name: _start(changes) for name, changes in POLICIES.items()}
    rows = []
    try:
        for worker in workers.values():
            _ask(worker, "ready")
        for count in args.neighbours:
            neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
            try:
                rows += [_row(workers, command, count, args.repeats) for command in args.commands]
            finally:
                for each in neighbours:
                    each.kill()
    finally:
        for worker in workers.values():
            worker.kill()
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def _row(workers: dict[str, Any], command: str, neighbours: int, repeats: int) -> dict[str, Any]:
    names, found = list(workers), {name: list[float]() for name in workers}
    chosen = []
    for turn in range(repeats):
        for name in names[turn % 3 :] + names[: turn % 3]:
            answer = _ask(workers[name], command)
            found[name].append(answer["seconds"])
            if name == "nns":
                chosen.append(answer["threads"])
    middle = {name: median(each) for name, each in found.items()}
    share = min(middle["1"], middle["2"]) / middle["nns"]
    cells = [command, str(neighbours), *(f"{middle[name]:.2f}" for name in ("nns", "1", "2")), f"{share:.2f}"]
    print("| " + " | ".join([*cells, " ".join(map(str, chosen)), f"{os.getloadavg()[0]:.1f}"]) + " |", flush=True)
    return {"command": command, "neighbours": neighbours, "seconds": found, "chosen": chosen, "share": share}


def _start(changes: dict[str, str]) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    return subprocess.Popen(
        [sys.executable, __file__, "--worker"], env=environment | changes, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def _ask(worker: subprocess.Popen[str], command: str) -> dict[str, Any]:
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write(command + "\n")
    worker.stdin.flush()
    answer: dict[str, Any] = json.loads(worker.stdout.readline())
    return answer


def _work() -> None:
    """Do what is asked for, line by line, and say how long it took."""
    from nns.threads import prepare_process

    prepare_process()
    import torch

    from nns import threads

    jobs = _jobs()
    for line in sys.stdin:
        command = line.strip()
        used = torch.get_num_threads()
        threads._trials.clear()  # a command knows nothing of the one before it
        began = time.perf_counter()
        if command != "ready":
            used = jobs[command]()
        print(json.dumps({"seconds": time.perf_counter() - began, "threads": used}), flush=True)


def _jobs() -> dict[str, Any]:
    import numpy as np
    import torch

    from nns import threads
    from nns.data.extractors import EfficientNetLite0Extractor
    from nns.finetuning import Entrant, Recipe, climb
    from nns.finetuning.predicting import logits_of
    from nns.plugins import installed_plugins
    from nns.searching.probes.features import features_of
    from nns.testing import planted_zoo
    from nns.threads import limited_threads, threads_wanted
    from nns.types import LabelledArrays, SplitArrays

    registry = installed_plugins()
    backend = registry.backend("timm")
    rng = np.random.default_rng(0)

    def images(count: int, size: int) -> Any:
        return rng.integers(0, 256, (count, 3, size, size), np.uint8)

    def split(count: int, size: int) -> LabelledArrays:
        return LabelledArrays(images(count, size), rng.integers(0, 8, count))

    def network(name: str) -> Any:
        (spec,) = backend.offers(name)
        return backend.build(spec, 8, 0).eval(), backend.preprocessing(spec, SIZE)

    def settled(module: Any) -> int:
        trial = threads._trials.get(module)
        return trial.count if trial else torch.get_num_threads()

    def finetune(name: str, count: int, size: int) -> Any:
        data = SplitArrays("noise", tuple("abcdefgh"), split(count, size), split(32, size), None)
        (spec,) = backend.offers(name)
        entrant = Entrant(name, name, lambda: backend.build(spec, 8, 0), backend.preprocessing(spec, size))
        return lambda: climb([entrant], lambda _: data, Recipe(epochs=2, device="cpu")).threads

    large, preprocessing = network("tf_efficientnet_lite0")
    extractor = EfficientNetLite0Extractor()
    queries, many = images(64, extractor.image_size), images(256, SIZE)
    data = planted_zoo(images=20)
    tuned: Any = SimpleNamespace(module=large, card=SimpleNamespace(preprocessing=preprocessing))

    def search() -> int:
        extractor.extract(queries)
        return settled(extractor._network)

    def probe() -> int:
        features_of(backend, large, many, preprocessing, batch_size=64)
        return settled(large)

    def predict() -> int:
        for start in range(0, len(many), 32):
            logits_of(tuned, many[start : start + 32])
        return settled(large)

    def fit() -> int:
        with limited_threads(threads_wanted()):  # as Space.fit does, which needs a zoo
            registry.make("method", "tans", epochs=100, seed=0).fit(data)
        return threads_wanted()

    return {
        "search": search,
        "probe": probe,
        "finetune": finetune("tf_efficientnet_lite0", 500, SIZE),
        "finetune small": finetune("mobilenetv3_small_050", 3000, 64),
        "predict": predict,
        "space fit": fit,
    }


if __name__ == "__main__":
    main()
