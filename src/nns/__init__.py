"""nns: Neural Network Search. Which already trained network should I start from, for these images?

The public names, each loaded at first use, so that importing nns loads neither torch nor numpy::

    import nns

    with nns.Zoo("zoo.h5") as zoo:
        result = nns.search("./mydata", zoo, nns.Limits(max_params=5_000_000))
        best = [candidate.entry.id for candidate in result.candidates[:3]]
        report = nns.finetune("./mydata", zoo, best, "./model", nns.Recipe(epochs=20))

Whoever writes a backend finds what is needed in :mod:`nns.plugins`, and the test suites in :mod:`nns.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nns._lazy import lazy_names

if TYPE_CHECKING:
    from nns.backends import Backend
    from nns.building import BuildSettings, build_zoo
    from nns.data import Dataset
    from nns.errors import (
        DatasetError,
        MissingZooError,
        NnsError,
        NoNetworkError,
        PluginError,
        ReproError,
        UnknownNameError,
        UsageError,
        WeightsError,
        ZooError,
    )
    from nns.finetuning import Recipe, export, predict
    from nns.finetuning.finetune_zoo import finetune
    from nns.hookspecs import hookimpl
    from nns.plugins import Registry, load_plugins
    from nns.searching import SearchResult, search
    from nns.space import Space
    from nns.types import ArchitectureSpec, Limits, NetworkEntry
    from nns.zoo import Zoo

    __version__: str

_HOMES = {
    "ArchitectureSpec": "types",
    "Backend": "backends",
    "BuildSettings": "building",
    "Dataset": "data",
    "DatasetError": "errors",
    "Limits": "types",
    "MissingZooError": "errors",
    "NetworkEntry": "types",
    "NnsError": "errors",
    "NoNetworkError": "errors",
    "PluginError": "errors",
    "Recipe": "finetuning",
    "Registry": "plugins",
    "ReproError": "errors",
    "SearchResult": "searching",
    "Space": "space",
    "UnknownNameError": "errors",
    "UsageError": "errors",
    "WeightsError": "errors",
    "Zoo": "zoo",
    "ZooError": "errors",
    "build_zoo": "building",
    "export": "finetuning",
    "finetune": "finetuning.finetune_zoo",
    "hookimpl": "hookspecs",
    "load_plugins": "plugins",
    "predict": "finetuning",
    "search": "searching",
}

__all__ = [
    "ArchitectureSpec",
    "Backend",
    "BuildSettings",
    "Dataset",
    "DatasetError",
    "Limits",
    "MissingZooError",
    "NetworkEntry",
    "NnsError",
    "NoNetworkError",
    "PluginError",
    "Recipe",
    "Registry",
    "ReproError",
    "SearchResult",
    "Space",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "Zoo",
    "ZooError",
    "build_zoo",
    "export",
    "finetune",
    "hookimpl",
    "load_plugins",
    "predict",
    "search",
]


_get = lazy_names(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` at first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("nns")
    return _get(name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
