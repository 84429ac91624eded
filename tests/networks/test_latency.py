from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
import torch
from nns_example import ExampleBackend

from nns.networks import device_key, latency, measure_latency
from nns.types import Preprocessing


def test_latency_is_positive_and_grows_with_the_image():
    backend = ExampleBackend()
    module = backend.build(backend.offers("plain-w24-d5")[0], 3)
    small, large = (measure_latency(module, Preprocessing(size), seconds=0.02) for size in (16, 160))
    assert 0 < small < large < 5


def test_the_key_names_processor_and_threads():
    key = device_key()
    assert key.startswith("cpu:")
    assert key.endswith(f":{torch.get_num_threads()}t")


def test_the_key_of_a_machine_without_cpuinfo(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", missing)
    assert device_key().startswith("cpu:")


def test_nothing_is_said_about_cuda():
    code = """
from torch import nn
from nns.networks import measure_latency
from nns.types import Preprocessing
print(measure_latency(nn.Flatten(), Preprocessing(8), seconds=0.001) > 0)
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "CUDA_HOME": "/usr/local", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert run.stdout == "True\n"
    assert run.stderr == ""


def test_only_that_notice_is_dropped_and_only_during_the_import(caplog):
    logger = logging.getLogger("torch.utils.cpp_extension")
    logger.addHandler(caplog.handler)  # torch keeps its records from the root logger
    try:
        with latency._without_cuda_notice():
            logger.warning("No CUDA runtime is found, using CUDA_HOME='%s'", "/usr")
            logger.warning("something else")
        logger.warning("No CUDA runtime is found, later")
    finally:
        logger.removeHandler(caplog.handler)
    assert set(caplog.messages) == {"something else", "No CUDA runtime is found, later"}


@pytest.mark.gpu
def test_on_cuda():
    backend = ExampleBackend()
    assert 0 < measure_latency(backend.build(backend.offers()[0], 3), Preprocessing(32), "cuda", seconds=0.02) < 1
    assert device_key("cuda").startswith("cuda:")
