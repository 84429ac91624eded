"""Time a TANS fit next to a plainly written loop as published.

    python benchmarks/space/fit_speed.py [--datasets 140] [--networks 100] [--images 200] [--epochs 10000]

Both fit the same made-up zoo of the published shapes: 45 + 1536 numbers a network, 512 a query image. The
plain loop does what the published trainer does each epoch: draws one network of each dataset, stacks each
dataset's query images, encodes query by query, steps, and then does the same again on the test queries to
measure recall. Each runs in a process of its own, for its peak memory. Times are CPU seconds of the process;
with OMP_NUM_THREADS=1 they are close to the wall time of an idle machine, other work only slows the caches.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

TOPOLOGY_DIM, FUNCTIONAL_DIM, QUERY_DIM, DIM = 45, 1536, 512, 128
PLAIN_EPOCHS = 15


def make_zoo(datasets: int, networks: int, images: int) -> dict[str, np.ndarray]:
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


def time_nns(zoo: dict[str, np.ndarray], epochs: int) -> tuple[float, int]:
    """Fit by nns; CPU seconds and epochs."""
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
    start = time.process_time()
    Tans(epochs=epochs).fit(data)
    return time.process_time() - start, epochs


def time_plain(zoo: dict[str, np.ndarray], evaluate: bool) -> tuple[float, int]:
    """Run the plain loop for a few epochs; CPU seconds and epochs."""
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

    start = time.process_time()
    for _ in range(PLAIN_EPOCHS):
        optimizer.zero_grad()
        forward()[0].backward()
        optimizer.step()
        if evaluate:
            with torch.no_grad():
                _, q, m = forward()
            for i in range(datasets):
                np.where(np.argsort(q[i].numpy() @ m.numpy().T)[::-1] == i)
    return time.process_time() - start, PLAIN_EPOCHS


def measure(arguments: argparse.Namespace, what: str) -> dict[str, float]:
    """Run one variant in a process of its own: seconds an epoch, peak MiB above the zoo itself."""
    command = [sys.executable, __file__, "--only", what]
    for name in ("datasets", "networks", "images", "epochs"):
        command += [f"--{name}", str(getattr(arguments, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure all variants and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=140)
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=10_000)
    parser.add_argument("--only", choices=["nns", "plain", "published"])
    arguments = parser.parse_args()
    if arguments.only:
        import torch  # noqa: F401  (its import is no part of the fit)

        zoo = make_zoo(arguments.datasets, arguments.networks, arguments.images)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if arguments.only == "nns":
            seconds, epochs = time_nns(zoo, arguments.epochs)
        else:
            seconds, epochs = time_plain(zoo, evaluate=arguments.only == "published")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"ms": 1000 * seconds / epochs, "mib": peak / 1024, "more": (peak - before) / 1024}))
        return
    labels = {
        "nns": "nns, Tans.fit, everything included",
        "plain": "plain loop, training only",
        "published": "plain loop, evaluating each epoch as published",
    }
    results = {what: measure(arguments, what) for what in labels}
    heads = f"{'CPU ms an epoch':>16}{'10,000 epochs':>15}{'ratio':>8}{'peak MiB':>10}{'above data':>12}"
    print(f"{'':48}{heads}")
    for what, label in labels.items():
        r = results[what]
        ratio = r["ms"] / results["nns"]["ms"]
        print(f"{label:48}{r['ms']:16.2f}{r['ms'] * 10:14.1f}s{ratio:8.1f}{r['mib']:10.0f}{r['more']:12.0f}")


if __name__ == "__main__":
    main()
