"""Processes that torchrun starts train one network, over gloo on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nns.finetuning import climb
from nns.finetuning.distributed import ALONE, World, joined_world, world

from ._together import SAME
from .conftest import digits_arrays, entrant_of

SCRIPT = Path(__file__).with_name("_together.py")


def torchrun(*arguments: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NNS_HISTORY": "off"}
    return subprocess.run(
        [*command, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=280, check=False
    )


def outcomes(folder: Path, what: str) -> list[dict[str, Any]]:
    done = torchrun(SCRIPT, folder, what)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_processes_come_to_what_one_comes_to(tmp_path: Path) -> None:
    first, second = outcomes(tmp_path, "same")
    alone = climb([entrant_of(8)], lambda _: digits_arrays(), SAME)
    for name, tensor in alone.module.state_dict().items():
        torch.testing.assert_close(first["state"][name], tensor, rtol=1e-3, atol=1e-5)
        assert torch.equal(first["state"][name], second["state"][name])
    for found, epoch in zip(first["history"], alone.history, strict=True):
        assert found == pytest.approx((epoch.train_loss, epoch.val_loss, epoch.val_accuracy), rel=1e-3)
    assert first["history"] == second["history"]
    assert "epoch" in first["events"]
    assert second["events"] == []


def test_clocks_that_differ_do_not_part_them(tmp_path: Path) -> None:
    first, second = outcomes(tmp_path, "ladder")
    assert repr(first["tried"]) == repr(second["tried"])  # where there is NaN
    assert repr(first["history"]) == repr(second["history"])
    assert all(torch.equal(tensor, second["state"][name]) for name, tensor in first["state"].items())
    assert set(second["files"]) <= {"run-0"}  # the first alone writes


def test_when_one_fails_all_end(tmp_path: Path) -> None:
    began = time.perf_counter()
    done = torchrun(SCRIPT, tmp_path, "fails")
    assert done.returncode != 0
    assert time.perf_counter() - began < 120
    assert not list(tmp_path.glob("*.pt"))


def test_the_command_line_prints_and_writes_once(small_zoo: Any, tmp_path: Path) -> None:
    command = ["-m", "nns", "finetune", small_zoo.query, "--zoo", small_zoo.path, "--backend", "example", "--try", 1]
    done = torchrun(*command, "--epochs", 1, "--device", "cpu", "--json", "-o", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 1
    assert (tmp_path / "model" / "card.json").exists()
    done = torchrun("-m", "nns", "finetune", tmp_path / "nowhere", "-o", tmp_path / "other")
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == [
        next(line for line in done.stderr.splitlines() if "nowhere" in line)
    ]


def test_alone_nothing_is_shared_out() -> None:
    with joined_world("cpu") as found:
        assert found is world() is ALONE
    batch = torch.arange(7)
    assert ALONE.share(batch) is batch
    assert [World(rank, 3).share(batch).tolist() for rank in range(3)] == [[0, 3, 6], [1, 4], [2, 5]]
