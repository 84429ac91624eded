"""Collect the results that nns has, and learn what is known of networks at large from them.

    python benchmarks/priors/fit.py             # learn prior.json from the committed tables
    python benchmarks/priors/fit.py --collect   # first make the tables of the files that they are from

Writes src/nns/priors: ``networks.csv`` (facts), ``results.csv`` (network, dataset, accuracy, source), ``prior.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nns.priors.facts import logit
from nns.priors.learning import FOLDER, Table, learn

BENCHMARKS = Path(__file__).parents[1]
STABLE = "stable_transfer"
"""google-research/stable_transfer, see benchmarks/priors/README.md."""

KERAS = {
    # parameters without the head (millions), GMACs at the published size, top-1: keras.io/api/applications, and the
    # papers for MACs and MobileNetV3 (large)
    "resnet50": (23.6, 3.87, 0.749),
    "resnet101": (42.7, 7.6, 0.764),
    "resnet50v2": (23.6, 3.49, 0.760),
    "resnet101v2": (42.6, 7.2, 0.772),
    "resnet152v2": (58.3, 10.9, 0.780),
    "vgg16": (14.7, 15.5, 0.713),
    "vgg19": (20.0, 19.6, 0.713),
    "densenet121": (7.0, 2.85, 0.750),
    "densenet169": (12.6, 3.4, 0.762),
    "densenet201": (18.3, 4.3, 0.773),
    "xception": (20.9, 8.4, 0.790),
    "mobilenet": (3.2, 0.57, 0.704),
    "mobilenetv2": (2.26, 0.30, 0.713),
    "mobilenetv3": (4.2, 0.22, 0.756),
    "nasnetmobile": (4.27, 0.56, 0.744),
    "efficientnetb0": (4.05, 0.39, 0.771),
    "efficientnetb1": (6.58, 0.70, 0.791),
    "efficientnetb2": (7.77, 1.0, 0.801),
    "efficientnetb3": (10.78, 1.8, 0.816),
}
LITES = {"lite0": "tf_efficientnet_lite0", "lite1": "tf_efficientnet_lite1", "lite2": "tf_efficientnet_lite2"}
SCRATCH_IMAGES = 4500
"""The zoos of the bank train a network of random weights for 15 epochs of at most 300 images."""
SEEN = {
    # images that a student was taught, by its log; at 600 and 1,200 seconds by its images a second
    "student:mobilenetv3_small_050@600s": 1_000_000,
    "student:mobilenetv3_small_050": 3_889_024,
    "student:mobilenetv3_small_100@1200s": 1_300_000,
    "student:mobilenetv3_small_100": 2_884_992,
    "student:lcnet_050": 1_303_296,
    "subnet:ofa_mbv3_w0.5": 506_112,
}

SPECIALISTS = ("-glyphs", "-pictures", "-fontstyle")
"""Ends of the names of networks that were taught on with the pictures of one family."""

Row = dict[str, Any]


def main() -> None:
    """Collect if asked, learn, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", action="store_true", help="make the tables anew")
    parser.add_argument("--stable-transfer", type=Path, help="stable_transfer.csv, for --collect")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="further files like starter/evaluated.jsonl")
    args = parser.parse_args()
    if args.collect:
        collect(args.stable_transfer, args.more)
    prior = learn(Table.read(), filling())
    (FOLDER / "prior.json").write_text(json.dumps(prior.to_dict(), indent=1) + "\n", encoding="utf-8")
    deviations = np.sqrt(np.diag(prior.covariance))
    for (name, mean), deviation in zip(prior.to_dict()["mean"].items(), deviations, strict=True):
        print(f"{name:20} {mean:+.2f} ± {deviation:.2f}")
    print(f"a network's own ± {prior.network}, a result ± {prior.error}; of {dict(prior.rests_on)}")


def filling() -> tuple[float, float, float]:
    """Regress top-1 on ImageNet, in logits beside 75 %, on log10 of the parameters of timm's pretrained networks."""
    rows = [row for row in references().values() if row["top1"] and not row["name"].startswith("test_")]
    size = np.log10([float(row["body_params"]) / 3e6 for row in rows])
    target = np.array([logit(float(row["top1"]) / 100) - logit(0.75) for row in rows])
    slope, intercept = np.polyfit(size, target, 1)
    deviation = float((target - intercept - slope * size).std())
    return round(float(intercept), 4), round(float(slope), 4), round(deviation, 4)


def references() -> dict[str, Row]:
    """Read timm's pretrained networks by architecture and weights."""
    with open(BENCHMARKS / "starter" / "references.csv", newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def collect(stable: Path | None, more: Sequence[Path]) -> None:
    """Write both tables; rows of files that are not at hand stay as they are."""
    kept: tuple[list[Row], list[Row]] = ([], [])
    if stable is None and (FOLDER / "results.csv").exists():
        kept = tuple(
            [row for row in csv.DictReader((FOLDER / name).open(encoding="utf-8")) if row["source"] == STABLE]
            for name in ("networks.csv", "results.csv")
        )  # type: ignore[assignment]
    networks, results = kept
    found = list(stable_transfer(stable)) if stable else []
    found += [*matrix(), *starter(more), *choices()]
    networks += list({(row["source"], row["network"]): row for row, _ in found}.values())
    for network, by_dataset in found:
        results += [
            {
                "source": network["source"],
                "network": network["network"],
                "dataset": dataset,
                "accuracy": round(value, 4),
            }
            for dataset, value in sorted(by_dataset.items())
        ]
    fields = [
        "source",
        "network",
        "start",
        "refined",
        "cut",
        "taught",
        "params",
        "macs",
        "imagenet",
        "images",
        "accuracy",
    ]
    for name, rows, columns in (
        ("networks.csv", networks, fields),
        ("results.csv", results, ["source", "network", "dataset", "accuracy"]),
    ):
        with open(FOLDER / name, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def stable_transfer(path: Path) -> Iterator[tuple[Row, dict[str, float]]]:
    """Read the public table of 19 Keras networks, all weights fine-tuned."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["mode"] == "finetuned"]
    for name, (params, macs, top1) in KERAS.items():
        facts = _facts(STABLE, name, "imagenet", params * 1e6, macs=macs * 1e9, imagenet=top1)
        yield facts, {row["dataset"]: float(row[name]) for row in rows}


def matrix() -> Iterator[tuple[Row, dict[str, float]]]:
    """Read the matrix of `nns bench`: 64 networks on 30 tasks, mean test accuracy of its repetitions."""
    with np.load(BENCHMARKS / "matrix" / "bank.npz") as arrays:
        document = json.loads(bytes(arrays["document"]).decode())
        done = np.isfinite(arrays["test"])
        test = np.where(done, arrays["test"], 0).sum(axis=0) / np.maximum(done.sum(axis=0), 1)
        test[~done.any(axis=0)] = math.nan
        params, own = arrays["params"], arrays["zoo.accuracy"]
    accuracy = dict(zip(document["network_ids"], own.tolist(), strict=True))
    for column, network in enumerate(document["candidates"]):
        name, trained_on = network["architecture"], network["source"]
        pretrained, refined = trained_on == "imagenet-1k", name.startswith("tf_efficientnet_lite")
        facts = _facts(
            "benchmarks/matrix",
            network["id"],
            "imagenet" if refined else "small",
            float(params[:, column].min()),
            refined=int(refined and not pretrained),
            **(_reference(name) if refined else {"images": SCRATCH_IMAGES}),
        )
        if not pretrained:
            facts["accuracy"] = round(accuracy[network["id"]], 4)
        tasks = [task["name"] for task in document["tasks"]]
        yield facts, {task: float(v) for task, v in zip(tasks, test[:, column], strict=True) if math.isfinite(v)}


def starter(more: Sequence[Path]) -> Iterator[tuple[Row, dict[str, float]]]:
    """Read the networks that were measured for the starter zoo: taught, cut, whole, random."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    params: dict[str, int] = {}
    paths = (BENCHMARKS / "starter" / "evaluated.jsonl", *more)
    for line in (line for path in paths for line in path.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        found[row["network"]][row["task"]].append(row["test"])
        params[row["network"]] = min(row["params"], params.get(row["network"], row["params"]))
    for name, by_task in found.items():
        facts = _of_starter(name, params[name])
        if facts is not None:
            yield facts, {task: float(np.mean(values)) for task, values in by_task.items()}


def _of_starter(name: str, params: int) -> Row | None:
    """Say what is known of a network by its name in evaluated.jsonl; None if the name is not known."""
    source = "benchmarks/starter"
    kind, _, rest = name.partition(":")
    if rest.endswith(SPECIALISTS):
        return None  # measured on tasks of their own family alone
    whole = re.fullmatch(r"lite:(\d)", name)
    if whole:
        return _facts(source, name, "imagenet", params, **_reference(f"tf_efficientnet_lite{whole[1]}"))
    if kind == "cut":
        return _facts(source, name, "imagenet", params, cut=1)
    if kind == "scratch":
        return _facts(source, name, "random", params)
    if kind in ("student", "subnet"):
        images = SEEN.get(name, SEEN.get(name.rpartition(":")[0], ""))
        cut = int(rest.startswith("lite"))  # a student that began as the first stages of a Lite
        start, more = ("imagenet", {"cut": 1, "taught": 1}) if cut else ("taught", {"images": images})
        return _facts(source, name, start, params, **more)
    return None


def choices() -> Iterator[tuple[Row, dict[str, float]]]:
    """Read what was chosen for the twelve tasks from the zoo of the bank; its scratch networks are of 15 epochs."""
    found: dict[str, tuple[Row, dict[str, float]]] = {}
    for line in (BENCHMARKS / "finetune" / "choices.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        lite, pretrained = row["architecture"].startswith("tf_efficientnet_lite"), row["source"] == "imagenet-1k"
        facts = _facts(
            "benchmarks/finetune",
            row["network"],
            "imagenet" if lite else "small",
            row["params"],
            refined=int(lite and not pretrained),
            **(_reference(row["architecture"]) if lite else {"images": SCRATCH_IMAGES}),
        )
        found.setdefault(row["network"], (facts, {}))[1][row["task"]] = row["test"]
    yield from found.values()


def _reference(architecture: str) -> Row:
    row = references()[f"{architecture}.in1k"]
    return {"macs": int(row["body_macs"]), "imagenet": float(row["top1"]) / 100}


def _facts(source: str, network: str, start: str, params: float, **further: Any) -> Row:
    facts: Row = dict.fromkeys(("macs", "imagenet", "images", "accuracy"), "")
    facts |= {"source": source, "network": network, "start": start, "refined": 0, "cut": 0, "taught": 0}
    facts["params"] = int(params)
    return facts | {name: round(v, 5) if isinstance(v, float) else v for name, v in further.items()}


if __name__ == "__main__":
    main()
