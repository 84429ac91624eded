"""The other machines of a build: whether they have the same versions, and see the folder of the zoo."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING

from nns.errors import UsageError

if TYPE_CHECKING:
    from nns.building.executors import Executor

LIBRARIES = ("nns", "torch", "torchvision", "timm", "numpy", "pillow")
"""What decides, beside plugins, what comes out of a training."""


@dataclass(frozen=True)
class Machine:
    """What a build needs to know of a machine.

    Attributes:
        name: Its name.
        versions: Of Python, of libraries, and of the distributions that plugins are in.
        sees: Whether it sees a file that this build has put beside the zoo.
    """

    name: str
    versions: Mapping[str, str]
    sees: bool


def describe_machine(mark: str) -> Machine:
    """Describe the machine that this runs on."""
    found = {"python": platform.python_version()}
    for name in sorted({*LIBRARIES, *(each.dist.name for each in entry_points(group="nns") if each.dist)}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return Machine(platform.node(), found, os.path.exists(mark))


def check_machines(executor: Executor, folder: Path) -> None:
    """See that each machine of an executor can do the items of a build in this folder as this one would.

    Args:
        executor: It knows its machines.
        folder: Beside the zoo, written by this process already.

    Raises:
        UsageError: If one cannot; it says which, and what it lacks. Nothing has been trained then.
    """
    machines = executor.on_each_machine(describe_machine, str(folder))
    if not machines:
        return
    here, wrong = describe_machine(str(folder)), []
    for address, found in sorted(machines.items()):
        if isinstance(found, BaseException):
            what = " ".join(f"{type(found).__name__}: {found}".split())[-300:]
            wrong.append(f"{address} cannot run nns ({what}); install there what is here: {_listed(here.versions)}")
            continue
        names = {*here.versions, *found.versions}
        other = {name for name in names if here.versions.get(name) != found.versions.get(name)}
        if other:
            lacking = "not installed"
            theirs = {name: found.versions.get(name, lacking) for name in sorted(other)}
            ours = {name: here.versions.get(name, lacking) for name in sorted(other)}
            wrong.append(f"{address} ({found.name}) has {_listed(theirs)}, this machine {_listed(ours)}")
        if not found.sees:
            wrong.append(
                f"{address} ({found.name}) does not see {folder}: the folder of the zoo must be on a disk that all "
                "machines share, under the same path"
            )
    if wrong:
        raise UsageError(f"machines of the cluster are not alike, and would not build one zoo: {'; '.join(wrong)}")


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {each}" for name, each in versions.items())
