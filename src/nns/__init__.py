"""nns: Neural Network Search. Which already trained network should I start from, for these images?

The public names, each loaded at first use, so that importing nns loads neither torch nor numpy::

    import nns

    result = nns.search("./mydata", zoo="team.h5", max_params="5M")
    network = result.best.load(classes=8)
    report = nns.finetune("./mydata", "team.h5", result, "./model", budget="10m")

Whoever writes a backend finds what is needed in :mod:`nns.plugins`, and the test suites in :mod:`nns.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nns._lazy import homes, lazy_names

if TYPE_CHECKING:
    from nns.backends import Backend
    from nns.building import BuildReport, BuildSettings, build_zoo
    from nns.data import Dataset
    from nns.errors import (
        DatasetError,
        MissingZooError,
        NnsError,
        NoNetworkError,
        PluginError,
        ReproError,
        ServerError,
        UnknownNameError,
        UsageError,
        WeightsError,
        ZooError,
    )
    from nns.finetuning import Recipe, export, predict
    from nns.finetuning.report import FinetuneReport
    from nns.hookspecs import hookimpl
    from nns.plugins import Registry, load_plugins
    from nns.searching import Candidate, SearchResult
    from nns.space import Space
    from nns.types import ArchitectureSpec, Limits, NetworkEntry
    from nns.verbs import build, finetune, search
    from nns.zoo import Zoo

    __version__: str

_HOMES = homes(
    {
        "backends": "Backend",
        "building": "BuildReport BuildSettings build_zoo",
        "data": "Dataset",
        "errors": "DatasetError MissingZooError NnsError NoNetworkError PluginError ReproError "
        "ServerError UnknownNameError UsageError WeightsError ZooError",
        "finetuning": "Recipe export predict",
        "finetuning.report": "FinetuneReport",
        "hookspecs": "hookimpl",
        "plugins": "Registry load_plugins",
        "searching": "Candidate SearchResult",
        "space": "Space",
        "types": "ArchitectureSpec Limits NetworkEntry",
        "verbs": "build finetune search",
        "zoo": "Zoo",
    }
)

__all__ = [
    "ArchitectureSpec",
    "Backend",
    "BuildReport",
    "BuildSettings",
    "Candidate",
    "Dataset",
    "DatasetError",
    "FinetuneReport",
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
    "ServerError",
    "Space",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "Zoo",
    "ZooError",
    "build",
    "build_zoo",
    "export",
    "finetune",
    "hookimpl",
    "load_plugins",
    "predict",
    "search",
]


_get, __dir__ = lazy_names(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` at first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("nns")
    return _get(name)
