"""What the tests of executors let workers do: functions of a module that the workers can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def no_preparation(threads: int) -> None:
    pass


def failing_preparation(threads: int) -> None:
    raise OSError(f"no {threads} threads here")


def square(number: int) -> int:
    return number * number


def process() -> int:
    return os.getpid()


def noted(folder: Path, name: str, seconds: float = 0.0) -> str:
    """Leave a file for each run of an item; give the item's name."""
    (folder / f"{name}-{time.time_ns()}").touch()
    time.sleep(seconds)
    return name


def runs(folder: Path, name: str) -> int:
    return len(list(folder.glob(f"{name}-*")))


def dies_at_first(folder: Path, name: str, seconds: float = 0.0) -> str:
    noted(folder, name, seconds)
    if runs(folder, name) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def dies(folder: Path) -> None:
    noted(folder, "poison")
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps(pid_file: Path, seconds: float) -> int:
    pid_file.write_text(str(os.getpid()))
    time.sleep(seconds)
    return os.getpid()


def interrupts_itself() -> str:
    os.kill(os.getpid(), signal.SIGINT)
    return "still here"


def raises(error: BaseException) -> None:
    raise error


class OddError(Exception):
    """Cannot be unpickled: its argument is not the one it hands to Exception."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


def raises_odd() -> None:
    raise OddError(code=7)


def torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def node(seconds: float) -> str:
    import ray

    time.sleep(seconds)
    return ray.get_runtime_context().get_node_id()


def visible_gpus(seconds: float) -> str:
    time.sleep(seconds)
    return os.environ.get("CUDA_VISIBLE_DEVICES", "")
