"""Emoji tasks: 64 px pictures of four vendors; category, skin tone, gender, role and more as classes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from bank.drawing import Collected, ImageFile, Picture
from bank.packages import Shelf, Source
from bank.task import Task

VENDORS = ("apple", "facebook", "google", "twitter")
TONES = {"1F3FB": "light", "1F3FC": "mid-light", "1F3FD": "medium", "1F3FE": "mid-dark", "1F3FF": "dark"}
GENDERS = {"1F468": "man", "1F469": "woman", "2642": "man", "2640": "woman", "1F9D1": "person"}
HAIR = {"1F9B0": "red", "1F9B1": "curly", "1F9B2": "bald", "1F9B3": "white"}


@dataclass(frozen=True)
class Emoji:
    """One picture of one vendor; ``codes`` are its code points in hex, skin tone included."""

    vendor: str
    path: str
    category: str
    subcategory: str
    short_name: str
    codes: tuple[str, ...]

    @property
    def tones(self) -> tuple[str, ...]:
        return tuple(code for code in self.codes if code in TONES)


Label = Callable[[Emoji], str | None]


def by_category(emoji: Emoji) -> str | None:
    """One of the nine categories; the five bare skin tone swatches are none of them."""
    return None if emoji.category == "Component" or emoji.tones else emoji.category


def by_subcategory(emoji: Emoji) -> str | None:
    """The subcategory; skin tone variants count, as in the data."""
    return None if len(emoji.tones) > 1 else emoji.subcategory


def by_plain_subcategory(emoji: Emoji) -> str | None:
    """The subcategory, without skin tone variants."""
    return None if emoji.tones else emoji.subcategory


def by_tone(emoji: Emoji) -> str | None:
    """The skin tone of a picture with exactly one."""
    return TONES[emoji.tones[0]] if len(emoji.tones) == 1 else None


def by_gender(emoji: Emoji) -> str | None:
    """Man, woman or person, of pictures of one person."""
    if emoji.subcategory not in {"person-role", "person-sport", "person-activity", "person-gesture"}:
        return None
    found = {GENDERS[code] for code in emoji.codes if code in GENDERS}
    named = found - {"person"} or found
    return named.pop() if len(named) == 1 else None


def by_hair(emoji: Emoji) -> str | None:
    """The hair of a picture that names one."""
    return next((HAIR[code] for code in emoji.codes if code in HAIR), None)


def by_hand(emoji: Emoji) -> str | None:
    """The hand sign, of one hand."""
    return emoji.short_name if emoji.subcategory.startswith("hand-") else None


def by_role(emoji: Emoji) -> str | None:
    """The profession: the code after the person and a joiner."""
    if emoji.subcategory != "person-role" or "200D" not in emoji.codes or emoji.codes[0] not in GENDERS:
        return None
    return emoji.short_name.removeprefix("male-").removeprefix("female-").replace("_", "-")


def by_sport(emoji: Emoji) -> str | None:
    """The sport, of one person."""
    return emoji.codes[0] if emoji.subcategory == "person-sport" and len(emoji.tones) <= 1 else None


def by_vendor(emoji: Emoji) -> str | None:
    """Who drew it."""
    return None if emoji.tones else emoji.vendor


def by_activity(emoji: Emoji) -> str | None:
    """Activity of one person, as face massage, walking, running."""
    return emoji.codes[0] if emoji.subcategory == "person-activity" and len(emoji.tones) <= 1 else None


@dataclass(frozen=True)
class Pictures:
    """Pictures of some vendors and categories, labelled by ``label`` (a name of this module)."""

    label: str
    vendors: tuple[str, ...] = VENDORS
    categories: tuple[str, ...] = ()

    def __call__(self, shelf: Shelf) -> Collected:
        label: Label = globals()[self.label]
        found: dict[str, list[Picture]] = defaultdict(list)
        for vendor in self.vendors:
            for emoji in _read(shelf, vendor):
                if self.categories and emoji.category not in self.categories:
                    continue
                name = label(emoji)
                if name is not None:
                    found[_folder(name)].append(ImageFile(emoji.path))
        return found


def emoji_tasks() -> Iterator[Task]:
    """Every emoji task."""
    for vendor in VENDORS:
        one = (vendor,)
        yield _task(f"{vendor}-category", Pictures("by_category", one), per_class=200)
        yield _task(f"{vendor}-skin-tone", Pictures("by_tone", one), per_class=160)
        yield _task(f"{vendor}-gender", Pictures("by_gender", one), per_class=250)
        yield _task(f"{vendor}-people", Pictures("by_subcategory", one, ("People & Body",)), per_class=80)
        yield _task(f"{vendor}-objects", Pictures("by_plain_subcategory", one, ("Objects",)))
    for name, category in {
        "smileys": "Smileys & Emotion",
        "nature": "Animals & Nature",
        "food": "Food & Drink",
        "activities": "Activities",
        "travel": "Travel & Places",
        "objects": "Objects",
        "symbols": "Symbols",
    }.items():
        yield _task(name, Pictures("by_plain_subcategory", VENDORS, (category,)), per_class=120)
    for pair in (("apple", "google"), ("facebook", "twitter")):
        for name, category in {"smileys": "Smileys & Emotion", "nature": "Animals & Nature"}.items():
            task = Pictures("by_plain_subcategory", pair, (category,))
            yield _task(f"{'-'.join(pair)}-{name}", task, size=48)
    yield _task("vendor", Pictures("by_vendor"), per_class=400)
    yield _task("vendor-symbols", Pictures("by_vendor", VENDORS, ("Symbols",)), size=32, per_class=230)
    yield _task("vendor-flags", Pictures("by_vendor", VENDORS, ("Flags",)), per_class=230, size=32)
    yield _task("category-32px", Pictures("by_category"), per_class=220, size=32)
    yield _task("hair", Pictures("by_hair"), per_class=150)
    yield _task("hand-sign", Pictures("by_hand"), per_class=48)
    yield _task("role", Pictures("by_role"), per_class=60)
    yield _task("sport", Pictures("by_sport"), per_class=100, size=48)
    yield _task("activity-of-person", Pictures("by_activity"), per_class=100, size=48)


def _task(name: str, pictures: Pictures, size: int = 64, per_class: int = 100) -> Task:
    sources = tuple(_source(vendor) for vendor in pictures.vendors)
    return Task(f"emoji-{name}", "emoji", sources, pictures, size=size, per_class=per_class)


def _source(vendor: str) -> Source:
    return Source("npm", f"emoji-datasource-{vendor}")


@lru_cache(maxsize=8)
def _read(shelf: Shelf, vendor: str) -> tuple[Emoji, ...]:
    folder = shelf.path(_source(vendor))
    have = {path.name for path in (folder / "img" / vendor / "64").iterdir()}
    base = f"npm/{folder.name}/img/{vendor}/64"
    found = []
    for entry in json.loads((folder / "emoji.json").read_text()):
        for variant in (entry, *entry.get("skin_variations", {}).values()):
            if variant["image"] in have and variant.get(f"has_img_{vendor}", True):
                found.append(
                    Emoji(
                        vendor=vendor,
                        path=f"{base}/{variant['image']}",
                        category=entry["category"],
                        subcategory=entry["subcategory"],
                        short_name=entry["short_name"],
                        codes=tuple(variant["unified"].split("-")),
                    )
                )
    return tuple(found)


def _folder(name: str) -> str:
    return name.lower().replace(" & ", "-").replace(" ", "-")
