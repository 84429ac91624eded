"""Tables of tasks, candidates, cells and the file of finished ones."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nns.bench.making import CellFile, best_cells, draw_candidates, named_candidates, plan_cells
from nns.bench.recipe import CellRecipe
from nns.bench.tasks import TaskGroup, read_groups
from nns.errors import UsageError

ABOUT = {"zoo": "f" * 64, "recipe": dict(CellRecipe().document())}


def cell(network="n1", digest="d1", seed=0):
    return {"network": network, "digest": digest, "seed": seed, "val": 0.5, "test": 0.5}


def table(tmp_path, text):
    path = tmp_path / "tasks.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_groups_are_read_from_several_tables(tmp_path):
    first = table(tmp_path, "task,family,set\na,emoji,apple\nb,icons,breeze\n")
    second = tmp_path / "more.csv"
    second.write_text("task,family,set\nc,photos,elpv\n")
    assert read_groups(first, second)["c"] == TaskGroup("c", "photos", "elpv")
    assert sorted(read_groups(first, second)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "first line must be task,family,set"),
        ("task,set,family\na,b,c\n", "first line"),
        ("task,family,set\na,emoji\n", "line 2: a task needs"),
        ("task,family,set\na,emoji,apple,4\n", "line 2: a task needs"),
        ("task,family,set\na,emoji,\n", "line 2: a task needs"),
        ("task,family,set\na,emoji,apple\na,icons,breeze\n", "line 3: task 'a' is there twice"),
    ],
)
def test_tables_that_are_wrong(tmp_path, text, told):
    with pytest.raises(UsageError, match=told):
        read_groups(table(tmp_path, text))


def test_tables_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match=r"none\.csv"):
        read_groups(tmp_path / "none.csv")
    path = tmp_path / "tasks.csv"
    path.write_bytes(b"task,family,set\n\xff\xfe,a,b\n")
    with pytest.raises(UsageError, match="cannot read"):
        read_groups(path)


def test_cells_are_kept_and_found_again(tmp_path):
    path = tmp_path / "deep" / "cells.jsonl"
    cells = CellFile(path, ABOUT)
    cells.add(cell())
    cells.add(cell(seed=1))
    assert set(CellFile(path, ABOUT).cells) == {("n1", "d1", 0), ("n1", "d1", 1)}
    assert CellFile(path, json.loads(json.dumps(ABOUT))).cells == cells.cells


def test_a_line_that_was_cut_off_is_made_anew(tmp_path):
    path = tmp_path / "cells.jsonl"
    CellFile(path, ABOUT).add(cell())
    whole = path.read_bytes()
    with path.open("ab") as stream:
        stream.write(json.dumps(cell("n2")).encode()[:20])
    cells = CellFile(path, ABOUT)
    assert set(cells.cells) == {("n1", "d1", 0)}
    assert path.read_bytes() == whole
    cells.add(cell("n2"))
    assert len(CellFile(path, ABOUT).cells) == 2
    path.write_bytes(whole[:10])  # even the first line
    assert CellFile(path, ABOUT).cells == {}
    assert len(path.read_bytes().splitlines()) == 1


def test_cells_of_another_zoo_or_recipe_are_refused(tmp_path):
    path = tmp_path / "cells.jsonl"
    CellFile(path, ABOUT).add(cell())
    before = path.read_bytes()
    with pytest.raises(UsageError, match="another zoo or recipe"):
        CellFile(path, ABOUT | {"zoo": "0" * 64})
    with pytest.raises(UsageError, match="another zoo or recipe"):
        CellFile(path, ABOUT | {"recipe": dict(CellRecipe(epochs=3).document())})
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", [b"not json\n", b"[1]\n", b'{"network": "n"}\n', b"\xff\xfe\n"])
def test_a_file_that_holds_something_else_is_refused_and_left_alone(tmp_path, line):
    path = tmp_path / "cells.jsonl"
    CellFile(path, ABOUT)
    with path.open("ab") as stream:
        stream.write(line)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="line 2: this is no cell"):
        CellFile(path, ABOUT)
    assert path.read_bytes() == before


def entries(sources=3, architectures=4, imagenet=2):
    """What drawing and planning look at of networks: each source has each architecture."""
    found = [
        SimpleNamespace(id=f"i{n}", source_digest="", source_dataset="imagenet-1k", spec=SimpleNamespace(name=f"a{n}"))
        for n in range(imagenet)
    ]
    for source in range(sources):
        for a in range(architectures):
            spec = SimpleNamespace(name=f"a{a}")
            digest = f"d{source}"
            found.append(
                SimpleNamespace(id=f"s{source}a{a}", source_digest=digest, source_dataset=f"source{source}", spec=spec)
            )
    return found


def test_candidates_are_drawn_evenly():
    every = entries()
    drawn = draw_candidates(every, 2 + 3 * 2)
    assert drawn[:2] == ("i0", "i1")
    by_source = [sum(each.startswith(f"s{source}") for each in drawn) for source in range(3)]
    assert by_source == [2, 2, 2]
    by_architecture = [sum(each.endswith(f"a{a}") for each in drawn[2:]) for a in range(4)]
    assert max(by_architecture) - min(by_architecture) <= 1
    assert draw_candidates(every, 8) == drawn
    assert draw_candidates(every[::-1], 8)[2:] == drawn[2:]
    assert draw_candidates(every, 8, seed=1) != drawn
    assert sorted(draw_candidates(every, 99)) == sorted(each.id for each in every)
    assert draw_candidates(every, 1) == ("i0",)


def test_candidates_are_found_by_name(tmp_path):
    every = entries()
    named = table(tmp_path, "architecture,source\n" + "".join(
        f"{entry.spec.name},{entry.source_dataset}\n" for entry in (every[5], every[3], every[5])
    ))  # fmt: skip
    assert named_candidates(every, named) == (every[5].id, every[3].id)
    with pytest.raises(UsageError, match="line 2: the zoo has no resnet of 'mars'"):
        named_candidates(every, table(tmp_path, "architecture,source\nresnet,mars\n"))
    with pytest.raises(UsageError, match="first line must be architecture,source"):
        named_candidates(every, table(tmp_path, "task,family,set\na,b,c\n"))


GROUPS = {
    **{f"source{s}": TaskGroup(f"source{s}", f"family{s}", f"set{s}") for s in range(3)},
    "near": TaskGroup("near", "family0", "set0"),
    "kin": TaskGroup("kin", "family0", "set9"),
}


def datasets(*names):
    return [(name, SimpleNamespace(path=f"/data/{name}", digest=f"digest-{name}")) for name in names]


def test_networks_of_the_same_set_have_no_cell():
    items = plan_cells(entries(), datasets("near", "kin"), GROUPS, CellRecipe(), 2)
    assert len(items) == 2 * ((14 - 4) + 14)
    assert not [item for item in items if item.dataset == "near" and item.network_id.startswith("s0")]
    assert [item for item in items if item.dataset == "kin" and item.network_id.startswith("s0")]
    assert [item.seed for item in items] == sorted(item.seed for item in items)
    assert len({item.key for item in items}) == len(items)


def test_datasets_without_a_group_are_named():
    with pytest.raises(UsageError, match="no family and set are known of far"):
        plan_cells(entries(), datasets("near", "far"), GROUPS, CellRecipe(), 1)
    groups = {name: group for name, group in GROUPS.items() if name != "source1"}
    with pytest.raises(UsageError, match="source1"):
        plan_cells(entries(), datasets("near"), groups, CellRecipe(), 1)
    assert replace(CellRecipe(), epochs=2).document()["epochs"] == 2


def test_what_is_worth_repeating():
    every = [entry for entry in entries() if entry.source_digest]
    items = plan_cells(every, datasets("kin"), GROUPS, CellRecipe(), 1)
    size = {item.key: 1_000_000 * (number + 1) for number, item in enumerate(items)}
    cells = {item.key: {"val": 0.5, "test": 0.05 * number} for number, item in enumerate(items)}
    best = best_cells(items, cells, lambda item: size[item.key], 1)
    # the largest are best: one at 1, 2, 5 and 10 million parameters, and one without a limit
    assert best == {(items[number].network_id, items[number].digest) for number in (0, 1, 4, 9, 11)}
    # once it is repeated it was only lucky, and the next best is to be repeated, too
    network, digest, _ = items[11].key
    again = cells | {(network, digest, 1): {"val": 0.5, "test": 0.0}}
    found = best_cells(items, again, lambda item: size[item.key], 1)
    assert found - best == {(items[10].network_id, items[10].digest)}
    del cells[items[11].key]
    assert (items[10].network_id, items[10].digest) in best_cells(items, cells, lambda item: size[item.key], 1)
