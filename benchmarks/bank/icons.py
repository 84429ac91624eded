"""Icon tasks: contexts of a theme as classes, icon names over many themes, themes, folder colours."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bank.drawing import Collected, ImageFile, Picture, VectorFile, relative
from bank.packages import Shelf, Source
from bank.task import Task

_ICONS = "usr/share/icons"
_CONTEXTS = {
    "actions", "animations", "apps", "categories", "devices", "emblems", "emotes", "filesystems",
    "mimetypes", "places", "status", "stock", "notifications", "preferences",
}  # fmt: skip
_SAME = {"mimes": "mimetypes", "filesystems": "places", "preferences": "categories", "emoticons": "emotes"}


@dataclass(frozen=True)
class Theme:
    """An icon theme in a package: its folder, and the sizes to take (``scalable`` for its SVGs)."""

    name: str
    package: str
    folder: str
    sizes: tuple[str, ...]

    @property
    def source(self) -> Source:
        return Source("deb", self.package)


@dataclass(frozen=True)
class Icon:
    """One icon file: context (as ``places``), name (as ``user-home``), theme."""

    theme: str
    context: str
    name: str
    picture: Picture


THEMES = {
    theme.name: theme
    for theme in (
        Theme("adwaita", "adwaita-icon-theme", "Adwaita", ("48", "64")),
        Theme("adwaita32", "adwaita-icon-theme", "Adwaita", ("32",)),
        Theme("breeze", "breeze-icon-theme", "breeze", ("32", "48", "64")),
        Theme("elementary", "elementary-icon-theme", "elementary", ("32", "48", "64")),
        Theme("elementary-xfce", "elementary-xfce-icon-theme", "elementary-xfce", ("48", "64")),
        Theme("faenza", "faenza-icon-theme", "Faenza", ("64",)),
        Theme("faenza96", "faenza-icon-theme", "Faenza", ("96",)),
        Theme("gartoon", "gnome-icon-theme-gartoon", "gartoon", ("scalable",)),
        Theme("gnome", "gnome-icon-theme", "gnome", ("48",)),
        Theme("gnome32", "gnome-icon-theme", "gnome", ("32",)),
        Theme("gnome-colors", "gnome-colors-common", "gnome-colors-common", ("scalable",)),
        Theme("lxde", "lxde-icon-theme", "nuoveXT2", ("72",)),
        Theme("mate", "mate-icon-theme", "mate", ("48",)),
        Theme("mate-svg", "mate-icon-theme", "mate", ("scalable",)),
        Theme("numix", "numix-icon-theme", "Numix", ("48",)),
        Theme("nuovo", "gnome-icon-theme-nuovo", "Nuovo", ("scalable",)),
        Theme("obsidian", "obsidian-icon-theme", "Obsidian", ("96",)),
        Theme("obsidian48", "obsidian-icon-theme", "Obsidian", ("48",)),
        Theme("oxygen", "oxygen-icon-theme", "oxygen/base", ("64",)),
        Theme("oxygen32", "oxygen-icon-theme", "oxygen/base", ("32",)),
        Theme("papirus", "papirus-icon-theme", "Papirus", ("64",)),
        Theme("tango", "tango-icon-theme", "Tango", ("scalable",)),
    )
}
_MANY = (
    "adwaita", "breeze", "elementary", "elementary-xfce", "faenza", "gnome", "lxde", "mate", "numix",
    "obsidian48", "oxygen", "papirus", "tango",
)  # fmt: skip
_MORE = (*_MANY, "gnome-colors", "mate-svg", "faenza96", "adwaita32", "gnome32", "oxygen32")


@dataclass(frozen=True)
class Contexts:
    """The contexts of one theme as classes."""

    theme: str

    def __call__(self, shelf: Shelf) -> Collected:
        return _group((icon.context, icon.picture) for icon in read_theme(shelf, THEMES[self.theme]))


@dataclass(frozen=True)
class Names:
    """Icon names of some contexts as classes, each over many themes."""

    contexts: tuple[str, ...]
    themes: tuple[str, ...] = _MORE

    def __call__(self, shelf: Shelf) -> Collected:
        icons = [icon for name in self.themes for icon in read_theme(shelf, THEMES[name])]
        return _group((icon.name, icon.picture) for icon in icons if icon.context in self.contexts)


@dataclass(frozen=True)
class Themes:
    """The themes as classes, over icons of some contexts."""

    contexts: tuple[str, ...]
    themes: tuple[str, ...] = _MANY

    def __call__(self, shelf: Shelf) -> Collected:
        icons = [icon for name in self.themes for icon in read_theme(shelf, THEMES[name])]
        return _group((icon.theme, icon.picture) for icon in icons if icon.context in self.contexts)


@dataclass(frozen=True)
class Folders:
    """Papirus folders, ``folder-COLOUR-EMBLEM``, by ``colour`` or by ``emblem``."""

    label: str

    def __call__(self, shelf: Shelf) -> Collected:
        icons = read_theme(shelf, THEMES["papirus"])
        names = {icon.name: icon.picture for icon in icons if icon.context == "places"}
        colours = {name.split("-")[1] for name in names if re.fullmatch(r"folder-[a-z]+-documents", name)}
        pairs = []
        for name, picture in sorted(names.items()):
            match = re.fullmatch(r"folder-([a-z]+)-([a-z-]+)", name)
            if match and match[1] in colours:
                pairs.append((match[1] if self.label == "colour" else match[2], picture))
        return _group(pairs)


def icon_tasks() -> Iterator[Task]:
    """Every icon task."""
    sizes = {"faenza96": 96, "obsidian": 96, "adwaita32": 32, "gnome32": 32, "oxygen32": 32, "lxde": 72}
    sizes |= {"gnome": 48, "mate": 48, "adwaita": 48, "obsidian48": 48}
    alike, too_few = {"mate-svg", "gnome32"}, {"adwaita", "adwaita32", "gartoon", "lxde"}
    for theme in THEMES.values():
        if theme.name not in alike | too_few:
            size = sizes.get(theme.name, 64)
            yield _task(f"{theme.name}-contexts", Contexts(theme.name), (theme.name,), size, 150)
    many = {"actions": 48, "devices": 64, "mimetypes": 48, "status": 48, "apps": 64}
    for context, size in many.items():
        contexts = (context, "categories", "places") if context == "devices" else (context,)
        name = "places-devices" if context == "devices" else context
        yield _task(f"name-{name}", Names(contexts), _MORE, size, 40)
    yield _task("theme", Themes(("actions", "apps", "devices", "places", "mimetypes")), _MANY, 48, 150)
    yield _task("theme-mimetypes", Themes(("mimetypes",)), _MANY, 32, 120)
    yield _task("theme-actions", Themes(("actions",)), _MANY, 32, 120)
    yield _task("folder-colour", Folders("colour"), ("papirus",), 32, 60)
    yield _task("folder-emblem", Folders("emblem"), ("papirus",), 48, 40)


def _task(name: str, collect: object, themes: tuple[str, ...], size: int, per_class: int) -> Task:
    sources = tuple(sorted({THEMES[theme].source for theme in themes}))
    return Task(f"icons-{name}", "icons", sources, collect, size=size, per_class=per_class)  # type: ignore[arg-type]


@lru_cache(maxsize=32)
def read_theme(shelf: Shelf, theme: Theme) -> tuple[Icon, ...]:
    """Icons of a theme at its sizes, links left out; a theme that is not on the shelf has none."""
    base = shelf.path(theme.source) / _ICONS / theme.folder
    icons = []
    for path in sorted(base.glob("*/*/*")):
        first, second = path.parts[-3:-1]
        size, context = (second, first) if _size(first) is None else (first, second)
        context = _SAME.get(context, context)
        if _size(size) not in theme.sizes or context not in _CONTEXTS | set(_SAME.values()):
            continue
        picture = _picture(path, shelf)
        if picture is not None:
            icons.append(Icon(theme.name, context, path.stem, picture))
    return tuple(icons)


def _size(folder: str) -> str | None:
    """``48`` of ``48`` and ``48x48``, ``scalable``; None for a folder that is no size."""
    match = re.fullmatch(r"(\d+)(x\1)?", folder)
    return match[1] if match else ("scalable" if folder == "scalable" else None)


def _picture(path: Path, shelf: Shelf) -> Picture | None:
    if path.is_symlink() or "symbolic" in path.stem:
        return None
    if path.suffix == ".png":
        return ImageFile(relative(path, shelf.root))
    return VectorFile(relative(path, shelf.root)) if path.suffix == ".svg" else None


def _group(pairs: object) -> Collected:
    found: dict[str, list[Picture]] = defaultdict(list)
    for label, picture in pairs:  # type: ignore[attr-defined]
        found[label].append(picture)
    return found
