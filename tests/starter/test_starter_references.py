"""What the starter zoo says of timm's networks, without their weights."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from starter import references

TABLE = Path(references.__file__).with_name("references.csv")


@pytest.fixture(scope="module")
def rows():
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", ["mobilenetv3_small_050.lamb_in1k", "lcnet_050.ra2_in1k", "resnet18.a1_in1k"])
def test_what_is_counted_without_memory_is_what_the_network_has(rows, name):
    import timm

    network = timm.create_model(name.partition(".")[0], num_classes=0)
    assert int(rows[name]["body_params"]) == sum(p.numel() for p in network.parameters())
    again = references.count(name)
    assert {column: str(again[column]) for column in references.COSTS} == {
        column: rows[name][column] for column in references.COSTS
    }


def test_every_row_has_a_licence_a_place_and_costs(rows):
    assert len(rows) > 700
    for row in rows.values():
        assert row["license"].lower() not in references.UNKNOWN and row["hub_id"] and row["hub_file"]
        assert 0 < int(row["body_params"]) <= 30e6 and int(row["body_macs"]) > 0 and int(row["feature_dim"]) > 0


@pytest.mark.parametrize(
    ("tag", "data"),
    [
        ("ra2_in1k", "imagenet-1k"),
        ("fb_in22k_ft_in1k", "imagenet-1k"),
        ("sw_in12k", "imagenet-12k"),
        ("", "imagenet-1k"),
    ],
)
def test_the_data_is_that_of_the_last_training(tag, data):
    assert references.trained_on(tag) == data


def test_figures_are_those_of_the_nearest_size():
    facts = [dict.fromkeys(references.PUBLISHED, str(size)) | {"image_size": str(size)} for size in (160, 224)]
    assert references.published(facts, 176)["top1"] == "160"
    assert set(references.published([], 176).values()) == {""}
