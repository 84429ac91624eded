"""Names that people give to classes and splits, brought to one spelling."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence

from nns.types import SplitName

SPLIT_WORDS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating"), "val"),
    **dict.fromkeys(("dev", "devel", "development", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), "test"),
}
"""Words that splits are named by, in small letters."""

_FILLING = (
    "set sets data dataset datasets split splits subset folder image images img imgs photo photos picture pictures "
    "sample samples file files"
)
_FILLERS = frozenset(_FILLING.split())  # beside the word of a split they say nothing: train_images, Test Set

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORDS = re.compile(r"[^\W\d_]+|\d+")


def split_parts(name: str) -> tuple[SplitName, str] | None:
    """Find the split that a folder or a cell names, and what else its name says.

    ``Training`` is ``("train", "")``, ``seg_test`` is ``("test", "seg")``, ``val2017`` is ``("val", "2017")``; ``cat``,
    and what names two splits, is None.
    """
    words = [word.lower() for word in _WORDS.findall(_CAMEL.sub(" ", name))]
    if words[:1] == ["train"] and words[1:2] in (["val"], ["valid"]):
        words[:2] = ["trainval"]
    if len(words) > 1 and words[0].isdigit():  # 01_train, 02_test: in order
        words = words[1:]
    named = [word for word in map(_without_filler, words) if word in SPLIT_WORDS]
    if len(named) != 1:
        return None
    rest = [word for word in words if _without_filler(word) != named[0] and word not in _FILLERS]
    return SPLIT_WORDS[named[0]], " ".join(rest)


def split_of(name: str) -> SplitName | None:
    """Return the split that a name stands for, in any case of letters and the usual spellings; None: it is none."""
    found = split_parts(name)
    return found[0] if found and not found[1] else None


def _without_filler(word: str) -> str:
    """Return ``train`` for ``trainset``."""
    for filler in ("set", "data", "dataset", "images", "imgs"):
        if word.endswith(filler) and word.removesuffix(filler) in SPLIT_WORDS:
            return word.removesuffix(filler)
    return word


def clean_name(name: str) -> str:
    r"""Bring a name to Unicode form NFC; bytes that are no UTF-8 become ``\xff``, so that two such names stay two."""
    try:
        raw = os.fsencode(name)
    except UnicodeEncodeError:  # half of a surrogate pair, from Python or JSON
        raw = name.encode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", raw.decode("utf-8", "backslashreplace"))


_NO_LABEL = (
    "nan <na> nat null none n/a #n/a na unlabeled unlabelled unlabel nolabel no_label unsup unassigned undefined"
)
NO_LABEL = frozenset(_NO_LABEL.split())
"""What tables and folders have in place of a label that is not there, in small letters."""

_COPY = re.compile(r"[\s_\-.]*(copy|kopie|copie|copia)([\s_]*\(?\d\)?)?$|\s*\(\d\)$|\.(bak|old|orig)$|~$")


def look_alike(names: Iterable[str]) -> dict[str, list[tuple[str, ...]]]:
    """Group class names that differ in next to nothing.

    Returns:
        Groups of two or more names, by what alone they differ in: ``"case"``, ``"spaces"``, ...
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(_likeness(name), []).append(name)
    found: dict[str, list[tuple[str, ...]]] = {}
    for group in alike.values():
        if len(group) > 1:
            found.setdefault(_difference(group), []).append(tuple(group))
    return found


def _difference(names: Sequence[str]) -> str:
    if len({name.casefold() for name in names}) == 1:
        return "case"
    if len({"".join(name.split()) for name in names}) == 1:
        return "spaces"
    if any(_COPY.search(name.casefold()) for name in names):
        return "the mark of a copy"
    if any(name.strip()[:1].isdigit() for name in names) and len({_words(name.casefold()) for name in names}) > 1:
        return "the way a number is written"
    return "case, spaces or punctuation"


def _likeness(name: str) -> str:
    text = _COPY.sub("", unicodedata.normalize("NFKC", name).casefold())
    shown = "".join(" " if not char.isprintable() else char for char in text)
    try:
        return repr(float(shown)) if "_" not in shown else _words(shown)
    except ValueError:
        return _words(shown)


def _words(text: str) -> str:
    # quotes around a name, and what separates words, are nothing; between digits it is something: 1-1 is not 11
    return re.sub(r"(?<!\d)[\s_\-]+|[\s_\-]+(?!\d)", "", text.strip("\"'`\u201c\u201d\u2018\u2019 \t")) or text


def in_line(name: str) -> str:
    """Write a name in one line of a message."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in clean_name(name))
