"""What a reproducibility check runs: small enough for CI, large enough to touch every stage."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from nns.building import BuildSettings, SearchSpace
from nns.data.formats import is_path, refuse_connections
from nns.documents import check_keys, convert
from nns.errors import UnknownNameError, UsageError
from nns.jsonable import shown
from nns.repro.digits import DIGITS_PREFIX
from nns.types import Limits

STAGES = ("data", "zoo", "build", "search", "fit", "finetune", "export")
"""All that a lock may cover."""

NEEDS = {"finetune": "search", "export": "finetune"}
"""A stage to the one whose result it takes."""

PLUGIN_PREFIX = "plugin:"
"""A zoo that an installed plugin provides, as ``plugin:starter``."""

DEFAULT_TOLERANCE = 0.15
"""How far a mean or predicted accuracy may be off in another environment, see docs/reproducibility.md."""

MOST = {
    "networks": 10_000, "image_size": 512, "max_images": 100_000, "epochs": 1000, "transfers": 100_000,
    "transfer_epochs": 1000, "round": 10_000, "candidates": 10_000, "space_epochs": 1_000_000, "top": 10_000,
}  # fmt: skip
"""What a check, which may be a stranger's, can ask for at most."""

MOST_DATASETS = 10_000

DIGITS = BuildSettings(
    data=("digits:012", "digits:345", "digits:67"),
    networks=9,
    image_size=32,
    max_images=96,
    pretrained=False,
    epochs=4,
    transfers=0,
)
"""What is built where nothing is said: three small datasets that come with scikit-learn."""


@dataclass(frozen=True)
class FineTuneSettings:
    """How the first candidate of each search is fine-tuned.

    Attributes:
        recipe: Name of a recipe.
        epochs: Epochs of the training.
        exports: Formats that what is handed over is exported to: ``"safetensors"``, ``"onnx"``, ``"pt2"``.
    """

    recipe: str = "default"
    epochs: int = 3
    exports: tuple[str, ...] = ("safetensors",)


@dataclass(frozen=True)
class ReproSettings:
    """Settings of a check, kept in its lock file.

    Attributes:
        build: What the zoo is built from; ``digits:012`` stands for these digits of scikit-learn's. None: see
            ``recipe`` and ``zoo``.
        recipe: A file that says what the zoo is built from, read anew by each check.
        zoo: A zoo that is there: its file, or ``plugin:NAME`` for one that a plugin provides. Nothing is built.
        queries: Datasets to search with; ``digits:89`` as in ``build``.
        method: Space method of the fit.
        space_epochs: Epochs of the fit; None: the method's choice.
        limits: Limits of the search; latency is left out, since no two runs measure the same.
        top: Candidates of a search that are written down.
        finetune: How the first of them is fine-tuned, for the stages ``finetune`` and ``export``.
        stages: Which of :data:`STAGES` are compared; None: data, search, and zoo, or build and fit; finetune where
            there are settings for it.
        seed: Of the fit, the search and the fine-tuning; that of the build is among its own settings.
    """

    build: BuildSettings | None = None
    recipe: str | None = None
    zoo: str | None = None
    queries: tuple[str, ...] = ("digits:89",)
    method: str = "mixed"
    space_epochs: int | None = 200
    limits: Limits = field(default_factory=Limits)
    top: int = 50
    finetune: FineTuneSettings | None = None
    stages: tuple[str, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what the stages themselves would only find out late.

        Raises:
            UsageError: If the parts contradict each other, or a number is out of range.
        """
        if not (self.build or self.recipe or self.zoo):
            object.__setattr__(self, "build", DIGITS)
        if sum(each is not None for each in (self.build, self.recipe, self.zoo)) > 1:
            raise UsageError("a zoo is built for a lock, or is there already: give `recipe` or `zoo`, not both")
        if self.limits.max_latency is not None:
            raise UsageError("a latency is not reproducible: leave `max_latency` out of a reproducibility check")
        _check_most(self, "space_epochs", "top")
        if self.finetune is not None:
            _check_most(self.finetune, "epochs")
        if self.build is not None:
            check_build(self.build, "fit" in self.covered)
        if "search" in self.covered and not self.queries:
            raise UsageError("there is nothing to search with: give `query`, once or more")
        if len(self.queries) > MOST_DATASETS:
            raise UsageError(f"{len(self.queries)} queries are more than {MOST_DATASETS}")
        check_stages(self.covered, self)

    @property
    def covered(self) -> tuple[str, ...]:
        """The stages that are compared, in the order in which they run: cheap ones first."""
        own = ["data", "zoo", "search"] if self.zoo else ["data", "build", "fit", "search"]
        own += ["finetune", "export"] if self.finetune else []
        return self.in_order(own if self.stages is None else self.stages)

    def in_order(self, stages: Iterable[str]) -> tuple[str, ...]:
        """Sort stages as they run: cheap ones first, but what is built has to be fitted before a search."""
        order = STAGES if self.zoo else ("data", "zoo", "build", "fit", "search", "finetune", "export")
        return tuple(sorted(set(stages), key=lambda stage: order.index(stage) if stage in order else -1))

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON-able values."""
        return asdict(self)

    def plugins(self) -> list[tuple[str, str]]:
        """Return kind and name of what plugins bring to the run, as far as the settings say it."""
        backends = sorted({each.partition(":")[0] for each in (self.build.backends if self.build else ())})
        found = [("backend", name) for name in backends]
        found += [("method", self.method)] if "fit" in self.covered else []
        found += [("recipe", self.finetune.recipe)] if self.finetune else []
        if self.zoo and self.zoo.startswith(PLUGIN_PREFIX):
            found.append(("zoo", self.zoo.removeprefix(PLUGIN_PREFIX)))
        return found

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave.

        Raises:
            ValueError: If a setting is missing, unknown or of a wrong type, or makes no sense.
        """
        check_keys(values, cls)
        check_keys(values["limits"], Limits)
        if (build := values["build"]) is not None:
            check_keys(build, BuildSettings)
            for space in build["spaces"].values() if isinstance(build["spaces"], Mapping) else ():
                check_keys(space, SearchSpace)
        if values["finetune"] is not None:
            check_keys(values["finetune"], FineTuneSettings)
        return convert(values, cls)

    def paths(self) -> list[str]:
        """Return the paths in it."""
        found: list[str] = []

        def note(path: str) -> str:
            found.append(path)
            return path

        self.with_paths(note)
        return found

    def with_paths(self, change: Callable[[str], str]) -> Self:
        """Return the settings with each path changed; names such as ``digits:01`` and ``torchvision:MNIST`` stay."""

        def changed(data: str) -> str:
            return data if data.startswith(DIGITS_PREFIX) or not is_path(data) else change(data)

        build = self.build and replace(self.build, data=tuple(map(changed, self.build.data)))
        zoo = self.zoo if self.zoo is None or self.zoo.startswith(PLUGIN_PREFIX) else change(self.zoo)
        recipe = None if self.recipe is None else change(self.recipe)
        return replace(self, build=build, recipe=recipe, zoo=zoo, queries=tuple(map(changed, self.queries)))

    def relative_to(self, folder: Path) -> Self:
        """Return paths relative to the folder of the lock, so that a checkout elsewhere finds its data."""
        return self.with_paths(lambda path: Path(os.path.relpath(os.path.expanduser(path), folder)).as_posix())

    def resolved(self, folder: Path) -> Self:
        """Undo :meth:`relative_to`."""
        return self.with_paths(lambda path: str(folder / path))


def check_build(build: BuildSettings, fitted: bool) -> None:
    """Check what is built by a check, which may be a stranger's.

    Raises:
        UsageError: If there are too few datasets for a space, or a number is too large.
    """
    if fitted and len(build.data) < 2:
        raise UsageError("a space needs at least two datasets: give `data` twice or more")
    if len(build.data) > MOST_DATASETS:
        raise UsageError(f"{len(build.data)} datasets are more than {MOST_DATASETS}")
    _check_most(build, *(MOST.keys() & vars(build).keys()))
    for space in build.spaces.values():
        _check_most(space, *(MOST.keys() & vars(space).keys()))


def refuse_downloads(data: Iterable[str], where: str) -> None:
    """Refuse datasets that a file names and that are not on this disk."""
    refuse_connections([each for each in data if not each.startswith(DIGITS_PREFIX)], where)


def check_stages(stages: tuple[str, ...], settings: ReproSettings) -> None:
    """See that stages are such, and that what each works on is there.

    Raises:
        UnknownNameError: If there is no such stage.
        UsageError: If one lacks what it works on.
    """
    if not stages:
        raise UsageError(f"`stages` names none of {', '.join(STAGES)}")
    for stage in stages:
        if stage not in STAGES:
            raise UnknownNameError.among("stage", stage, STAGES)
        if (stage == "zoo" and not settings.zoo) or (stage == "build" and settings.zoo):
            raise UsageError(f"there is no stage {stage}: " + ("nothing is built" if settings.zoo else "give `zoo`"))
        if stage in NEEDS and NEEDS[stage] not in stages:
            raise UsageError(f"stage {stage} needs stage {NEEDS[stage]}: name that in `stages`, too")
        if stage in ("finetune", "export") and settings.finetune is None:
            raise UsageError(f"stage {stage} needs `finetune`")
    if not settings.zoo and "search" in stages and "fit" in settings.covered and "fit" not in stages:
        raise UsageError("the search is by what stage fit fits: name that in `stages`, too")
    if not settings.zoo and {"fit", "search"} & set(stages) and "build" not in stages:
        raise UsageError("fit and search work on what is built: name build in `stages`, too")


def _check_most(settings: Any, *names: str) -> None:
    for name in names:
        value, least = getattr(settings, name), 0 if name == "transfers" else 1
        if value is not None and not least <= value <= MOST[name]:
            raise UsageError(f"`{name}` must be {least} to {MOST[name]}, not {shown(value)}")


def leading_outside(paths: Iterable[str], folders: Iterable[str]) -> list[str]:
    """Return the paths that are not below one of the folders, made absolute.

    Where links lead is not asked: they are of whoever made the folders, not of the lock.
    """
    roots = [os.path.join(os.path.abspath(folder), "") for folder in folders]
    absolute = map(os.path.abspath, paths)
    return [path for path in absolute if not any(os.path.join(path, "").startswith(root) for root in roots)]


def refuse_outside(paths: Iterable[str], folders: Iterable[str], where: str) -> None:
    """Refuse paths that lead out of the folders in which somebody who runs a stranger's lock expects it to read.

    Raises:
        UsageError: If one does.
    """
    if found := leading_outside(paths, folders):
        raise UsageError(
            f"{where} names {found[0]!r:.200}, which is neither below its own folder nor below the current one; "
            "`outside` lets it"
        )
