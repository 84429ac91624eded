"""Typeface tasks: the style of the type is the class, whatever the letters say; or the script is."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from bank import typefaces as fonts
from bank.drawing import Collected, Picture
from bank.fonts import Face, faces_of
from bank.glyphs import Glyph, Ink
from bank.packages import Shelf, Source
from bank.scripts import ARABIC, DIGITS, HAN_NATURE, HANGUL, HIRAGANA, LOWER, UPPER, span
from bank.task import Task

_WORDS = (
    "Ag Be Qu Ra ham fig key map yes go Hej Sax quiz bog Rag Tea Gym pad leg jay "
    "Ox Wig Key Bag Fry Mug bed cry dog ear fun gas hat ink jam kit lab mud net oak "
    "pig raw sky tax use van wax yak zip Abs Cab Dig Eat"
)
_STYLED = {"serif": fonts.SERIF, "sans": fonts.SANS, "mono": fonts.MONO, "hand": fonts.HAND}
_NOTO_SCRIPTS = {
    "latin": ("Noto Sans", UPPER + LOWER),
    "greek": ("Noto Sans", span(0x3B1, 0x3C9) + span(0x391, 0x3A9)),
    "cyrillic": ("Noto Sans", span(0x410, 0x44F)),
    "hebrew": ("Noto Sans Hebrew", span(0x5D0, 0x5EA)),
    "arabic": ("Noto Sans Arabic", ARABIC),
    "armenian": ("Noto Sans Armenian", span(0x531, 0x556) + span(0x561, 0x586)),
    "georgian": ("Noto Sans Georgian", span(0x10D0, 0x10F0)),
    "ethiopic": ("Noto Sans Ethiopic", span(0x1200, 0x1240)),
    "devanagari": ("Noto Sans Devanagari", span(0x905, 0x939)),
    "bengali": ("Noto Sans Bengali", span(0x985, 0x9B9)),
    "gurmukhi": ("Noto Sans Gurmukhi", span(0xA05, 0xA39)),
    "gujarati": ("Noto Sans Gujarati", span(0xA85, 0xAB9)),
    "oriya": ("Noto Sans Oriya", span(0xB05, 0xB39)),
    "tamil": ("Noto Sans Tamil", span(0xB85, 0xBB9)),
    "telugu": ("Noto Sans Telugu", span(0xC05, 0xC39)),
    "kannada": ("Noto Sans Kannada", span(0xC85, 0xCB9)),
    "malayalam": ("Noto Sans Malayalam", span(0xD05, 0xD39)),
    "sinhala": ("Noto Sans Sinhala", span(0xD85, 0xDC6)),
    "thai": ("Noto Sans Thai", span(0xE01, 0xE2E)),
    "lao": ("Noto Sans Lao", span(0xE81, 0xEAE)),
    "khmer": ("Noto Sans Khmer", span(0x1780, 0x17A2)),
    "myanmar": ("Noto Sans Myanmar", span(0x1000, 0x1021)),
}
_INDIC = ("devanagari", "bengali", "gurmukhi", "gujarati", "oriya", "tamil", "telugu", "kannada", "malayalam")


@dataclass(frozen=True)
class Packages:
    """Classes given by package: each draws the texts in its faces, upright ones only."""

    classes: tuple[tuple[str, tuple[str, ...]], ...]
    texts: tuple[str, ...]
    ink: Ink
    wanted: int

    def __call__(self, shelf: Shelf) -> Collected:
        found = {}
        for label, packages in self.classes:
            faces = [face for face in faces_of(shelf, packages, per_family=2) if not face.italic]
            found[label] = _pair(faces, self.texts, self.ink, self.wanted, label)
        return found


@dataclass(frozen=True)
class Trait:
    """Classes given by a face's own ``weight`` or ``slant``, in families that have more than one of them."""

    trait: str
    packages: tuple[str, ...]
    texts: tuple[str, ...]
    ink: Ink
    wanted: int

    def __call__(self, shelf: Shelf) -> Collected:
        families: dict[str, dict[str, list[Face]]] = defaultdict(lambda: defaultdict(list))
        for face in faces_of(shelf, self.packages, per_family=12):
            label = self._label(face)
            if label:
                families[re.sub(r" (Light|Thin|Black|Heavy|Bold|Medium).*", "", face.family)][label].append(face)
        by_label: dict[str, list[Face]] = defaultdict(list)
        for family in families.values():
            if len(family) > 1:
                for label, faces in family.items():
                    by_label[label].extend(faces[:2])
        return {label: _pair(faces, self.texts, self.ink, self.wanted, label) for label, faces in by_label.items()}

    def _label(self, face: Face) -> str | None:
        if self.trait == "slant":
            return "italic" if face.italic else "upright"
        if face.italic:
            return None
        return (
            "light"
            if face.weight < 350
            else "regular"
            if face.weight <= 450
            else "bold"
            if face.weight >= 600
            else None
        )


@dataclass(frozen=True)
class Families:
    """The typeface family as the class, over letters."""

    packages: tuple[str, ...]
    text: str
    ink: Ink

    def __call__(self, shelf: Shelf) -> Collected:
        found: dict[str, list[Picture]] = {}
        for package in self.packages:
            faces = [face for face in faces_of(shelf, (package,), per_family=1) if face.has(self.text[:4])]
            if faces:
                having = [letter for letter in self.text if faces[0].has(letter)]
                found[package.removeprefix("fonts-")] = [Glyph(faces[0], letter, self.ink) for letter in having]
        return found


@dataclass(frozen=True)
class Scripts:
    """The script as the class; one type design, Noto Sans, so the style does not give it away."""

    scripts: tuple[str, ...]
    ink: Ink

    def __call__(self, shelf: Shelf) -> Collected:
        faces = faces_of(shelf, ("fonts-noto-core",), per_family=8)
        found: dict[str, list[Picture]] = {}
        for script in self.scripts:
            family, letters = _NOTO_SCRIPTS[script]
            found[script] = [
                Glyph(face, letter, self.ink, take)
                for face in faces
                if face.family == family and not face.italic
                for letter in letters
                if face.has(letter)
                for take in range(2)
            ]
        return found


@dataclass(frozen=True)
class Kinds:
    """What sort of sign it is: upper case, lower case, digit, Greek or Cyrillic capital."""

    packages: tuple[str, ...]
    kinds: tuple[tuple[str, str], ...]
    ink: Ink
    wanted: int

    def __call__(self, shelf: Shelf) -> Collected:
        faces = faces_of(shelf, self.packages, per_family=1)
        return {label: _pair(faces, tuple(text), self.ink, self.wanted, label) for label, text in self.kinds}


def style_tasks() -> Iterator[Task]:
    """Every typeface task."""
    words, letters = tuple(_WORDS.split()), tuple(UPPER + LOWER)
    styled = tuple(_STYLED.items())
    yield _task("four-styles-words", Packages(styled, words, "plain", 300), 96, 300)
    yield _task("four-styles-letters", Packages(styled, letters, "noisy", 300), 48, 300)
    yield _task("serif-sans", Packages(styled[:2], letters, "plain", 300), 64, 300)
    odd = (("book", fonts.SERIF + fonts.SANS), ("odd", fonts.ODD), ("hand", fonts.HAND))
    yield _task("book-odd-hand", Packages(odd, letters, "colour", 300), 64, 300)
    book = fonts.SERIF + fonts.SANS + fonts.MONO
    yield _task("weight-words", Trait("weight", book, words, "plain", 250), 96, 250)
    yield _task("weight-letters", Trait("weight", book, letters, "colour", 250), 48, 250)
    yield _task("italic-words", Trait("slant", book, words, "plain", 300), 64, 300)
    yield _task("italic-letters", Trait("slant", book, letters, "noisy", 300), 64, 300)
    yield _task("family-sans", Families(fonts.SANS[:30], UPPER + LOWER + DIGITS, "plain"), 64, 62)
    yield _task("family-serif", Families(fonts.SERIF, UPPER + LOWER + DIGITS, "plain"), 64, 62)
    yield _task("family-mono", Families(fonts.MONO, UPPER + LOWER + DIGITS, "noisy"), 64, 62)
    yield _task("family-hand", Families(fonts.HAND, UPPER + LOWER + DIGITS, "colour"), 64, 62)
    kana = HIRAGANA + HAN_NATURE
    yield _task("family-japanese", Families(fonts.JAPANESE, kana, "plain"), 64, 70)
    yield _task("family-hangul", Families(fonts.KOREAN[:4], HANGUL + span(0xAC00, 0xAC60), "plain"), 64, 120)
    yield _task("family-thai", Families(fonts.THAI_TLWG, span(0xE01, 0xE2E), "colour"), 64, 44)
    arabic = ("hosny-amiri", "hosny-thabit", "nafees", "sil-scheherazade", "sil-lateef", "sil-harmattan")
    more = ("kacst-one", "unikurdweb", "lemonada", "sil-alkalami", "sil-awami-nastaliq", "farsiweb")
    names = tuple(f"fonts-{name}" for name in arabic + more)
    yield _task("family-arabic", Families(names, ARABIC + span(0x660, 0x669), "plain"), 64, 40)
    yield _task("script", Scripts(tuple(_NOTO_SCRIPTS), "plain"), 64, 90)
    yield _task("script-noisy", Scripts(tuple(_NOTO_SCRIPTS)[:12], "noisy"), 48, 120)
    yield _task("script-indic", Scripts(_INDIC, "colour"), 64, 120)
    kinds = (("upper", "ABDEFGHLMNQRT"), ("lower", "abdefghlmnqrt"), ("digit", DIGITS))
    yield _task("case", Kinds(fonts.LATIN, kinds, "plain", 300), 32, 300)
    alphabets = (("latin", "DFGJLQRSUVWZ"), ("greek", "ΓΔΘΛΞΠΣΦΨΩ"), ("cyrillic", "БДЖИЛЦЧШЩЫЭЮЯ"))
    yield _task("alphabet", Kinds(fonts.GREEK, alphabets, "noisy", 250), 48, 250)


def _pair(faces: list[Face], texts: tuple[str, ...], ink: Ink, wanted: int, label: str) -> list[Picture]:
    """About ``wanted`` faces and texts, faces evenly, texts at random, each pair once."""
    rng = Random(label)
    found: dict[str, Picture] = {}
    for turn in range(len(texts)):
        for face in faces:
            glyph = Glyph(face, rng.choice(texts), ink)
            if face.has(glyph.text):
                found.setdefault(glyph.key, glyph)
        if len(found) > 1.3 * wanted and turn:
            break
    return list(found.values())


def _task(name: str, collect: object, size: int, per_class: int) -> Task:
    packages: tuple[str, ...] = getattr(collect, "packages", ()) or ("fonts-noto-core",)
    if isinstance(collect, Packages):
        packages = tuple(package for _, group in collect.classes for package in group)
    sources = tuple(sorted({Source("deb", package) for package in packages}))
    return Task(f"fontstyle-{name}", "fontstyle", sources, collect, size=size, per_class=per_class)  # type: ignore[arg-type]
