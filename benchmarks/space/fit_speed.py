"""Time a TANS fit next to a plainly written loop as published.

    python benchmarks/space/fit_speed.py [--files DIR | --generator make_tans_files.py] [--epochs 10000]

With ``--files``, a folder of files in the published layout, ``nns zoo import-tans`` and ``nns space fit`` run on
them as commands, so that all they do counts, and the plain loop on the numbers of the same files. With ``--generator``
the files are made by that script first, in the folder that ``--files`` names or in a temporary one. Without either,
``Tans.fit`` alone runs on made-up numbers of the published shapes: 45 + 1536 a network, 512 a query image.

The plain loop does what the published trainer does each epoch: draws one network of each dataset, stacks each
dataset's query images, encodes query by query, steps, and then does the same again on the test queries to measure
recall. It runs few epochs and is extrapolated. Each runs in a process of its own, for its peak memory, which is that
of the whole process with its libraries. CPU seconds are of the process; with OMP_NUM_THREADS=1 they are close to the
wall time of an idle machine, other work only slows the caches. Ratios are of CPU seconds. What was measured is also
written to fit_speed.json beside this script.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TOPOLOGY_DIM, FUNCTIONAL_DIM, QUERY_DIM, DIM = 45, 1536, 512, 128
PLAIN_EPOCHS = 15
SHAPES = ("datasets", "networks", "images")
LABELS = {
    "import": "nns zoo import-tans, the command",
    "fit": "nns space fit, the command",
    "nns": "nns, Tans.fit, everything included",
    "plain": "plain loop, training only",
    "published": "plain loop, evaluating each epoch as published",
}


def make_zoo(datasets: int, networks: int, images: int) -> dict[str, Any]:
    """Draw a zoo: topology, functional, accuracy and home of networks, queries (datasets, images, 512)."""
    rng = np.random.default_rng(0)
    home = np.repeat(np.arange(datasets), networks)
    centres = rng.standard_normal((datasets, 1, QUERY_DIM), np.float32)
    homes = rng.standard_normal((datasets, FUNCTIONAL_DIM), np.float32)
    return {
        "topology": rng.integers(2, 8, (len(home), TOPOLOGY_DIM)).astype(np.float32),
        "functional": homes[home] + rng.standard_normal((len(home), FUNCTIONAL_DIM), np.float32),
        "accuracy": rng.uniform(0.5, 1, len(home)),
        "home": home,
        "queries": centres + 2 * rng.standard_normal((datasets, images, QUERY_DIM), np.float32),
    }


def read_zoo(files: Path) -> dict[str, Any]:
    """Read the same numbers from published files; networks of datasets without queries are left out."""
    from nns.tans.layout import read_networks, read_training_sets

    networks = read_networks(files / "p_mod_zoo.pt")
    sets = read_training_sets(files / "meta_train.pt")
    index = {dataset.name: number for number, dataset in enumerate(sets)}
    home = np.array([index.get(name, -1) for name in networks.datasets])
    own = home >= 0
    return {
        "topology": networks.topology[own],
        "functional": networks.functional[own],
        "accuracy": networks.accuracy[own],
        "home": home[own],
        "queries": [dataset.features for dataset in sets],
    }


def time_nns(zoo: dict[str, Any], epochs: int) -> dict[str, float]:
    """Fit by nns; CPU and wall seconds, and epochs."""
    from nns.space import SpaceData, Tans

    datasets = len(zoo["queries"])
    data = SpaceData(
        network_ids=tuple(str(i) for i in range(len(zoo["home"]))),
        blocks={"topology": zoo["topology"], "functional": zoo["functional"]},
        accuracy=zoo["accuracy"],
        dataset_index=zoo["home"],
        dataset_names=tuple(f"dataset_{d}" for d in range(datasets)),
        queries=tuple(zoo["queries"]),
        query_labels=tuple(np.full(len(query), -1) for query in zoo["queries"]),
    )
    cpu, wall = time.process_time(), time.perf_counter()
    Tans(epochs=epochs).fit(data)
    return {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - wall, "epochs": epochs}


def time_plain(zoo: dict[str, Any], evaluate: bool) -> dict[str, float]:
    """Run the plain loop for a few epochs; CPU and wall seconds, and epochs."""
    import torch
    from torch.nn.functional import normalize

    rng = np.random.default_rng(0)
    datasets = len(zoo["queries"])
    members = [np.flatnonzero(zoo["home"] == d) for d in range(datasets)]
    networks = [
        (topology.tolist(), torch.from_numpy(functional))
        for topology, functional in zip(zoo["topology"], zoo["functional"], strict=True)
    ]
    images = [[torch.from_numpy(row) for row in query] for query in zoo["queries"]]
    query_fc = torch.nn.Linear(QUERY_DIM, DIM)
    network_fc = torch.nn.Linear(TOPOLOGY_DIM + FUNCTIONAL_DIM, DIM)
    predictor_fc = torch.nn.Linear(2 * DIM, 1)
    layers = torch.nn.ModuleList([query_fc, network_fc, predictor_fc])
    optimizer = torch.optim.Adam(layers.parameters(), lr=1e-2)

    def forward() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        drawn = [int(rng.choice(m)) for m in members]
        topology = torch.stack([torch.tensor(networks[i][0]) for i in drawn])
        functional = torch.stack([networks[i][1] for i in drawn])
        accuracy = torch.tensor([float(zoo["accuracy"][i]) for i in drawn])
        q = torch.stack([normalize(query_fc(torch.stack(query)).mean(0), dim=0) for query in images])
        m = normalize(network_fc(normalize(torch.cat([topology, functional], 1))))
        predicted = torch.sigmoid(predictor_fc(torch.cat([q, m], 1)))[:, 0]
        scores = q @ m.T
        matched = scores.diag()
        negatives = scores - torch.diag(matched)
        by_column = negatives.sort(0, descending=True).values[:datasets]
        by_row = negatives.sort(1, descending=True).values[:, :datasets]
        loss = (by_column + 0.2 - matched[None, :]).clamp(min=0).sum()
        loss = loss + (by_row + 0.2 - matched[:, None]).clamp(min=0).sum()
        return loss + torch.nn.functional.mse_loss(predicted, accuracy), q, m

    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(PLAIN_EPOCHS):
        optimizer.zero_grad()
        forward()[0].backward()
        optimizer.step()
        if evaluate:
            with torch.no_grad():
                _, q, m = forward()
            for i in range(datasets):
                np.where(np.argsort(q[i].numpy() @ m.numpy().T)[::-1] == i)
    return {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - wall, "epochs": PLAIN_EPOCHS}


def run_one(arguments: argparse.Namespace) -> dict[str, float]:
    """Run one variant in this process: CPU and wall seconds, epochs, peak MiB, and those above the zoo itself."""
    import torch  # noqa: F401  (its import is no part of the fit)

    zoo = read_zoo(arguments.files) if arguments.files else make_zoo(*(getattr(arguments, name) for name in SHAPES))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if arguments.only == "nns":
        found = time_nns(zoo, arguments.epochs)
    else:
        found = time_plain(zoo, evaluate=arguments.only == "published")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**found, "mib": peak / 1024, "more": (peak - before) / 1024}


def run_here_again(arguments: argparse.Namespace, what: str) -> dict[str, float]:
    """Run one variant in a process of its own."""
    command = [sys.executable, __file__, "--only", what]
    for name in (*SHAPES, "epochs", "files"):
        if getattr(arguments, name) is not None:
            command += [f"--{name}", str(getattr(arguments, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def run_command(*command: str) -> tuple[dict[str, float], str]:
    """Run ``nns`` with these arguments: CPU and wall seconds, peak MiB, and what it prints."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", "from nns.cli import main; main()", *command], stdout=subprocess.PIPE, text=True
    )
    printed = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"nns {' '.join(command)} ended with {process.returncode}")
    seconds, cpu = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
    return {"cpu": cpu, "seconds": seconds, "mib": usage.ru_maxrss / 1024}, printed


def run_commands(files: Path, epochs: int) -> dict[str, dict[str, float]]:
    """Import the files and fit a space to them."""
    with tempfile.TemporaryDirectory() as folder:
        zoo = f"{folder}/zoo.h5"
        imported, _ = run_command("zoo", "import-tans", str(files), "--output", zoo)
        method = ("--method", "tans", "--epochs", str(epochs), "--no-held-out")
        fit, printed = run_command("space", "fit", zoo, *method, "--json")
    report = json.loads(printed)
    shape = {"networks": report["networks"], "datasets": report["datasets"]}
    return {"import": imported, "fit": {**fit, "epochs": epochs, "seconds_of_fit": report["seconds"], **shape}}


def print_table(results: dict[str, dict[str, float]]) -> None:
    """Print a row of each variant; that which ran fewer epochs is extrapolated to 10,000."""
    fastest = results.get("fit") or results["nns"]
    heads = f"{'CPU ms an epoch':>17}{'10,000 epochs: s':>18}{'CPU s':>9}{'ratio':>8}{'peak MiB':>10}"
    print(f"{'':48}{heads}")
    for what, found in results.items():
        if "epochs" not in found:
            print(f"{LABELS[what]:48}{'':17}{found['seconds']:18.1f}{found['cpu']:9.1f}{'':8}{found['mib']:10.0f}")
            continue
        cpu, seconds = (found[name] / found["epochs"] for name in ("cpu", "seconds"))
        ratio = cpu / (fastest["cpu"] / fastest["epochs"])
        row = f"{1000 * cpu:17.2f}{10_000 * seconds:18.1f}{10_000 * cpu:9.1f}{ratio:8.1f}{found['mib']:10.0f}"
        print(f"{LABELS[what]:48}{row}")
    if "fit" in results:
        fit = results["fit"]
        ms = 1000 * fit["seconds_of_fit"] / fit["epochs"]
        print(f"of nns space fit, the fit alone: {fit['seconds_of_fit']:.1f} s, {ms:.2f} ms an epoch")


def main() -> None:
    """Measure all variants, print a table and write it down."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=Path, help="folder of files in the published layout")
    parser.add_argument("--generator", type=Path, help="script that makes such files, make_tans_files.py")
    parser.add_argument("--datasets", type=int, default=140)
    parser.add_argument("--networks", type=int, default=100, help="of each dataset")
    parser.add_argument("--images", type=int, default=200, help="of each dataset")
    parser.add_argument("--epochs", type=int, default=10_000)
    parser.add_argument("--only", choices=["nns", "plain", "published"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(run_one(arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.generator:
            arguments.files = arguments.files or Path(folder)
            shapes = [word for name in SHAPES for word in (f"--{name}", str(getattr(arguments, name)))]
            command = [sys.executable, str(arguments.generator), str(arguments.files), *shapes]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        results = run_commands(arguments.files, arguments.epochs) if arguments.files else {}
        for what in ("plain", "published") if arguments.files else ("nns", "plain", "published"):
            results[what] = run_here_again(arguments, what)
    print_table(results)
    about = {"threads": torch.get_num_threads(), "cores": os.cpu_count(), "torch": torch.__version__}
    rounded = {what: {name: round(n, 3) for name, n in found.items()} for what, found in results.items()}
    document = {"files": arguments.files is not None, **about, "results": rounded}
    Path(__file__).with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
