"""Decoded images are held once: in memory, in a file mapped into it, or not at all; the pixels are the same."""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nns import files
from nns.backends.batches import batches
from nns.data import Dataset, room
from nns.data.on_demand import ImagesOnDemand
from nns.errors import DatasetError
from nns.types import LabelledArrays, SplitArrays

from .conftest import MakeFolder, class_files

SIZE = 16


@pytest.fixture
def data(make_folder: MakeFolder) -> Path:
    files = class_files({"cat": 20, "dog": 12})
    return make_folder(files | {"cat/bad.png": b"no image", "dog/0bad.png": b"none either"})


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """There is none for images; the folder of the cache."""
    monkeypatch.setattr(room, "ALWAYS_HELD", 0)
    monkeypatch.setattr(room, "available_memory", lambda: 0.0)
    monkeypatch.setattr(room, "DISK_LEFT", 0)
    monkeypatch.setattr(room, "_is_in_memory", lambda folder: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "DISK_LEFT", 2**60)


def parts(arrays: SplitArrays) -> Iterator[LabelledArrays]:
    assert arrays.test is not None
    yield from (arrays.train, arrays.val, arrays.test)


def same(one: SplitArrays, two: SplitArrays) -> bool:
    return all(
        np.array_equal(a.labels, b.labels) and np.array_equal(a.images[:], b.images[:])
        for a, b in zip(parts(one), parts(two))
    )


def as_it_was(dataset: Dataset, size: int) -> SplitArrays:
    """The splits as they were made before: all decoded into one array, each split copied out of it."""
    images, kept, skipped = dataset.decode(range(len(dataset)), size)
    members = dataset._members(kept, skipped, 0.15, 0.15, 0)
    split = {name: LabelledArrays(images[at], dataset.labels[kept[at]]) for name, at in members.items()}
    return SplitArrays(dataset.name, dataset.classes, split["train"], split["val"], split["test"])


@pytest.mark.parametrize("where", ["memory", "file", "nowhere"])
def test_the_pixels_are_the_same_wherever_they_are(
    data: Path, where: str, no_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = as_it_was(Dataset.open(data), SIZE)
    if where == "memory":
        monkeypatch.setattr(room, "ALWAYS_HELD", 2**30)
    elif where == "nowhere":
        no_disk(monkeypatch)
    arrays, skipped = Dataset.open(data).decode_splits(SIZE)
    assert {type(part.images) for part in parts(arrays)} == {
        {"memory": np.ndarray, "file": np.memmap, "nowhere": ImagesOnDemand}[where]
    }
    assert same(arrays, expected)
    assert [item.path for item in skipped] == ["cat/bad.png", "dog/0bad.png"]


def test_batches_are_the_same_wherever_the_images_are(
    data: Path, no_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(arrays: SplitArrays) -> list[torch.Tensor]:
        images = arrays.train.images
        given = torch.from_numpy(images) if type(images) is np.ndarray else images
        order = torch.randperm(len(arrays.train), generator=torch.Generator().manual_seed(3))
        made = batches(given, torch.from_numpy(arrays.train.labels), 5, order=order, first=1)
        return [tensor for pair in made for tensor in pair]

    mapped = drawn(Dataset.open(data).decode_splits(SIZE)[0])
    no_disk(monkeypatch)
    on_demand = drawn(Dataset.open(data).decode_splits(SIZE)[0])
    monkeypatch.setattr(room, "ALWAYS_HELD", 2**30)
    held = drawn(Dataset.open(data).decode_splits(SIZE)[0])
    assert len(held) > 6
    for one, two, three in zip(held, mapped, on_demand, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_of_a_large_file_are_released(data: Path, no_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resident() -> int:
        found, ours = 0, False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                ours = "/nns/decoded/" in line
            elif ours and words[0] == "Rss:":
                found += int(words[1])
        return found

    arrays, _ = Dataset.open(data).decode_splits(64)
    before = arrays.train.images.copy()
    assert resident() >= len(before) * 3 * 64 * 64 // 1024
    monkeypatch.setattr(files, "RELEASED_FROM", 1)
    labels = torch.from_numpy(arrays.train.labels)
    made = [images for images, _ in batches(arrays.train.images, labels, 5, order=torch.arange(len(labels)))]
    assert resident() < 400
    assert np.array_equal(torch.cat(made).numpy(), before)
    assert np.array_equal(arrays.train.images, before)


@pytest.mark.parametrize("where", ["file", "nowhere"])
def test_a_training_is_the_same_wherever_the_images_are(
    data: Path, where: str, no_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nns.finetuning import Recipe
    from nns.finetuning.training import train
    from nns.types import Preprocessing

    def trained(arrays: SplitArrays) -> tuple[dict[str, torch.Tensor], float]:
        torch.manual_seed(0)
        module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 14 * 14, 2))
        recipe = Recipe(epochs=2, batch_size=8, device="cpu")
        result = train(module, arrays, Preprocessing(SIZE), recipe, seed=1)
        return result.module.state_dict(), result.best.val_loss

    if where == "nowhere":
        no_disk(monkeypatch)
    elsewhere = trained(Dataset.open(data).decode_splits(SIZE)[0])
    monkeypatch.setattr(room, "ALWAYS_HELD", 2**30)
    held = trained(Dataset.open(data).decode_splits(SIZE)[0])
    assert elsewhere[1] == held[1]
    assert all(torch.equal(elsewhere[0][name], held[0][name]) for name in held[0])


def test_images_are_held_once(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Dataset.open(make_folder(class_files({"a": 40, "b": 30})))
    assert dataset.digest
    decoded = len(dataset) * 3 * 256 * 256
    tracemalloc.start()
    try:
        arrays, _ = dataset.decode_splits(256, workers=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(part.images.nbytes for part in parts(arrays)) == decoded
    assert peak < decoded * 1.05 + 2**20


def test_bytes_of_files_make_room(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nns.data import splitting

    dataset = Dataset.open(data)
    assert dataset.digest
    assert dataset._reader.held > 0
    dataset.decode_splits(SIZE)
    assert dataset._reader.held > 0, "there is enough for so few"
    monkeypatch.setattr(splitting, "KEPT_BYTES", 0)
    arrays, _ = dataset.decode_splits(SIZE)
    assert dataset._reader.held == 0
    assert same(arrays, Dataset.open(data).decode_splits(SIZE)[0])


def test_the_file_has_no_name_and_goes_with_the_arrays(data: Path, no_memory: Path) -> None:
    arrays, _ = Dataset.open(data).decode_splits(SIZE)
    folder = no_memory / "nns" / "decoded"
    assert list(folder.iterdir()) == []
    if sys.platform == "linux":
        mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
        assert mapped
        del arrays
        left = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
        assert len(left) < len(mapped)


def test_a_disk_without_room_or_in_memory_is_not_used(no_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(room.array_for(4, SIZE), np.memmap)
    monkeypatch.setattr(room, "_is_in_memory", lambda folder: True)
    assert room.array_for(4, SIZE) is None
    monkeypatch.setattr(room, "_is_in_memory", lambda folder: False)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert room.array_for(4, SIZE) is None
    assert list((no_memory / "nns" / "decoded").iterdir()) == []


def test_a_file_that_is_gone_when_it_is_asked_for_again(
    data: Path, no_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_disk(monkeypatch)
    dataset = Dataset.open(data)
    arrays, _ = dataset.decode_splits(SIZE)
    dataset._reader.let_go()
    for path in data.rglob("*.png"):
        path.unlink()
    with pytest.raises(DatasetError, match="could be read before, and cannot now: no such file"):
        arrays.val.images[0:2]


@pytest.mark.parametrize("seed", range(5))
def test_rows_move_in_place(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images: NDArray[np.uint8] = rng.integers(0, 256, (20, 3, 2, 2), dtype=np.uint8)
    rows = rng.permutation(20)[: rng.integers(1, 21)]
    expected, everything = images[rows], sorted(image.tobytes() for image in images)
    room.move_rows(images, rows)
    assert np.array_equal(images[: len(rows)], expected)
    assert sorted(image.tobytes() for image in images) == everything


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write files of the kernel's."""
    monkeypatch.setattr(room, "_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(room, "_PROC", tmp_path / "proc")

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    write(proc__meminfo="MemTotal: 9000000 kB\nMemAvailable:    1000 kB\n")
    return write


def test_memory_of_the_machine(system: Callable[..., None]) -> None:
    assert room.available_memory() == 1000 * 1024
    system(proc__self__cgroup="0::/job\n", cgroup__job__cgroup="")
    assert room.available_memory() == 1000 * 1024


def test_memory_of_a_container(system: Callable[..., None]) -> None:
    stat = "anon 300\ninactive_file 40\nactive_file 60\n"
    system(proc__self__cgroup="0::/\n")
    for name, text in {"memory.stat": stat, "memory.max": "1000\n", "memory.current": "400\n"}.items():
        system(**{f"cgroup__{name}": text})
    assert room.available_memory() == 1000 - (400 - 100)
    system(proc__self__cgroup="0::/a/b\n", **{"cgroup__a__b__memory.max": "max\n"})
    assert room.available_memory() == 700, "what is above counts, too"
    system(**{"cgroup__a__memory.stat": stat, "cgroup__a__memory.max": "500", "cgroup__a__memory.current": "900"})
    assert room.available_memory() == 0, "more is used than may be"


@pytest.mark.parametrize("place", ["memory__job__", "memory__"])
def test_memory_of_a_container_of_the_first_version(system: Callable[..., None], place: str) -> None:
    stat = "cache 9\nhierarchical_memory_limit 2000\ntotal_inactive_file 10\ntotal_active_file 20\n"
    system(proc__self__cgroup="4:memory:/job\n1:cpu:/\n0::/\n")
    system(**{f"cgroup__{place}memory.stat": stat, f"cgroup__{place}memory.usage_in_bytes": "530\n"})
    assert room.available_memory() == 1500
