"""Measuring latency on the device that will run the network."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nns.types import Preprocessing

if TYPE_CHECKING:
    from torch import nn


def device_key(device: str = "cpu") -> str:
    """Name the device for the cache in a zoo: model of the processor or GPU, and the number of threads."""
    import torch

    if device.startswith("cuda"):
        return f"cuda:{torch.cuda.get_device_name(device)}"
    return f"cpu:{_processor()}:{torch.get_num_threads()}t"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()


@contextmanager
def _without_cuda_notice() -> Iterator[None]:
    """Keep torch's build tools, which its benchmark imports, from warning that a machine has no CUDA device."""

    def matters(record: logging.LogRecord) -> bool:
        return "No CUDA runtime is found" not in record.getMessage()

    logger = logging.getLogger("torch.utils.cpp_extension")
    logger.addFilter(matters)
    try:
        yield
    finally:
        logger.removeFilter(matters)


def measure_latency(
    module: nn.Module, preprocessing: Preprocessing, device: str = "cpu", seconds: float = 0.15
) -> float:
    """Measure the latency of one image (batch 1) by ``torch.utils.benchmark``.

    Args:
        module: The network, with its head.
        preprocessing: Its input, for the image size.
        device: Where to run it; CUDA is synchronised by the timer.
        seconds: Least time to spend on repetitions, after a warm-up.

    Returns:
        Median seconds of one forward pass.
    """
    import torch

    with _without_cuda_notice():
        from torch.utils.benchmark import Timer

    module = module.eval().to(device)
    image = torch.zeros(1, 3, preprocessing.size, preprocessing.size, device=device)
    with torch.inference_mode():
        for _ in range(3):
            module(image)
        timer = Timer("module(image)", globals={"module": module, "image": image}, num_threads=torch.get_num_threads())
        return float(timer.blocked_autorange(min_run_time=seconds).median)
