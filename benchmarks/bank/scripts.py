"""Glyph tasks: the letters of one script as classes, over many typefaces."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from bank import typefaces as fonts
from bank.drawing import Collected, Picture
from bank.fonts import faces_of
from bank.glyphs import Glyph, Ink
from bank.packages import Shelf, Source
from bank.task import Task

_MAX_TAKES = 12


def span(first: int, last: int) -> str:
    """The letters and signs from one code point to another, unassigned ones left out."""
    return "".join(chr(code) for code in range(first, last + 1) if unicodedata.category(chr(code)) != "Cn")


UPPER, LOWER, DIGITS = span(0x41, 0x5A), span(0x61, 0x7A), span(0x30, 0x39)
ARABIC = "ابتثجحخدذرزسشصضطظعغفقكلمنهوي"
HIRAGANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん"
KATAKANA = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン"
HANGUL = "가나다라마바사아자차카타파하고노도로모보소오조초코토포호구누두루무부수우주추"
HAN_NATURE = "山川水火木金土日月星雨雪風雲石田花草竹米魚鳥馬牛羊犬虫貝"
HAN_PEOPLE = "人女子父母王口目耳手足心力士工友兄弟主臣"
HAN_LIKE = "日目白百自曰田由甲申土士工王玉大太犬天夫"
HAN_NUMBERS = "一二三四五六七八九十百千萬"
ETHIOPIC_FIRST = "ሀለሐመሠረሰሸቀበተቸኀነኘአከኸወዐዘዠየደጀገጠጨጰጸፀፈፐ"
ACCENTED = "àáâãäåçèéêëìíîïñòóôõöùúûüýÿ"
MATH = "∀∂∃∅∇∈∉∋∏∑−∓√∝∞∠∧∨∩∪∫∮∴∼≅≈≠≡≤≥⊂⊃⊆⊇⊕⊗⊥"
ARROWS = "←↑→↓↔↕↖↗↘↙↚↛↞↠↢↣↤↦↩↪↫↬↭↮↰↱↲↳↶↷⇐⇑⇒⇓⇔⇕"
CURRENCY = "$¢£¥₡₣₤₦₩₪₫€₱₹₽₺₴₸"
PIECES = "♔♕♖♗♘♙♚♛♜♝♞♟♠♡♢♣♤♥♦♧"


@dataclass(frozen=True)
class Letters:
    """Each character of ``text`` is a class; every face that has it draws it.

    Where faces are few each draws it several times, with other size and place, to reach ``wanted`` pictures.
    """

    text: str
    packages: tuple[str, ...]
    ink: Ink
    wanted: int

    def __call__(self, shelf: Shelf) -> Collected:
        faces = faces_of(shelf, self.packages)
        found: dict[str, list[Picture]] = {}
        for letter in self.text:
            having = [face for face in faces if face.has(letter)]
            if having:
                takes = min(_MAX_TAKES, math.ceil(1.3 * self.wanted / len(having)))
                found[_folder(letter)] = [
                    Glyph(face, letter, self.ink, take) for face in having for take in range(takes)
                ]
        return found

    def __repr__(self) -> str:
        return f"Letters({self.text!r}, {self.packages}, {self.ink!r}, {self.wanted})"


@dataclass(frozen=True)
class Syllables:
    """Hangul syllables by the part ``initial``, ``vowel`` or ``final``, or Ethiopic ones by ``order``."""

    part: str
    packages: tuple[str, ...]
    ink: Ink

    def __call__(self, shelf: Shelf) -> Collected:
        faces = faces_of(shelf, self.packages)
        found: dict[str, list[Picture]] = {}
        for place, (label, syllable) in enumerate(self._labelled()):
            having = [face for face in faces if face.has(syllable)]
            for turn in range(min(3, len(having))):
                face = having[(place * 3 + turn) % len(having)]
                found.setdefault(label, []).append(Glyph(face, syllable, self.ink))
        return found

    def _labelled(self) -> Iterator[tuple[str, str]]:
        if self.part == "order":
            for first in ETHIOPIC_FIRST:
                for order in range(7):
                    yield f"order-{order + 1}", chr(ord(first) + order)
            return
        for code in range(0xAC00, 0xD7A4, 7 if self.part == "final" else 11):
            initial, rest = divmod(code - 0xAC00, 588)
            vowel, final = divmod(rest, 28)
            number = {"initial": initial, "vowel": vowel, "final": final}[self.part]
            yield f"{self.part}-{number:02}", chr(code)


def script_tasks() -> Iterator[Task]:
    """Every glyph task."""
    yield from _latin()
    yield from _europe()
    yield from _semitic_and_ethiopic()
    yield from _indic()
    yield from _southeast_asia()
    yield from _east_asia()
    yield from _signs()


def _latin() -> Iterator[Task]:
    yield _task("latin", "upper-a-m", UPPER[:13], fonts.LATIN, per_class=80)
    yield _task("latin", "upper-n-z", UPPER[13:], fonts.LATIN, per_class=80)
    yield _task("latin", "lower-a-m", LOWER[:13], fonts.LATIN, "inverse", per_class=80, size=48)
    yield _task("latin", "lower-n-z", LOWER[13:], fonts.LATIN, "inverse", per_class=80, size=48)
    yield _task("latin", "upper-colour", UPPER, fonts.LATIN, "colour", per_class=70)
    yield _task("latin", "lower-noisy", LOWER, fonts.LATIN, "noisy", per_class=70)
    yield _task("latin", "upper-odd-a-m", UPPER[:13], fonts.ODD, "colour", per_class=90)
    yield _task("latin", "upper-odd-n-z", UPPER[13:], fonts.ODD, per_class=90)
    yield _task("latin", "upper-hand", UPPER, fonts.HAND, per_class=40)
    yield _task("latin", "accented", ACCENTED, fonts.LATIN, per_class=60)
    yield _task("latin", "digits", DIGITS, fonts.LATIN, per_class=120, size=32)
    yield _task("latin", "digits-noisy", DIGITS, fonts.LATIN, "noisy", per_class=150, size=48)
    yield _task("latin", "digits-odd", DIGITS, fonts.ODD, "colour", per_class=120, size=48)
    yield _task("latin", "few", UPPER, fonts.LATIN, "colour", per_class=10, size=64)


def _europe() -> Iterator[Task]:
    greek_upper, greek_lower = span(0x391, 0x3A9), span(0x3B1, 0x3C9)
    yield _task("greek", "upper", greek_upper, fonts.GREEK)
    yield _task("greek", "lower", greek_lower, fonts.GREEK, "colour")
    yield _task("greek", "lower-noisy", greek_lower, fonts.GREEK, "noisy", size=48)
    yield _task("cyrillic", "upper", span(0x410, 0x42F), fonts.CYRILLIC)
    yield _task("cyrillic", "lower-a-p", span(0x430, 0x43F), fonts.CYRILLIC, "colour", per_class=80)
    yield _task("cyrillic", "lower-r-ya", span(0x440, 0x44F), fonts.CYRILLIC, "noisy", per_class=80)
    yield _task("armenian", "upper", span(0x531, 0x556), fonts.WIDE, per_class=36)
    yield _task("armenian", "lower", span(0x561, 0x586), fonts.WIDE, "colour", per_class=36)
    yield _task("georgian", "letters", span(0x10D0, 0x10F0), fonts.GEORGIAN, per_class=48)
    yield _task("georgian", "letters-noisy", span(0x10D0, 0x10F0), fonts.GEORGIAN, "noisy", per_class=40)
    yield _task("runic", "letters", span(0x16A0, 0x16C7), fonts.ANCIENT, "noisy", per_class=24)
    yield _task("coptic", "letters", span(0x2C80, 0x2CB1)[::2], fonts.ANCIENT, "colour", per_class=24)


def _semitic_and_ethiopic() -> Iterator[Task]:
    yield _task("hebrew", "letters", span(0x5D0, 0x5EA), fonts.HEBREW)
    yield _task("hebrew", "letters-noisy", span(0x5D0, 0x5EA), fonts.HEBREW, "noisy", size=48)
    yield _task("arabic", "first-half", ARABIC[:14], fonts.ARABIC, per_class=80)
    yield _task("arabic", "second-half", ARABIC[14:], fonts.ARABIC, per_class=80)
    yield _task("arabic", "letters-colour", ARABIC, fonts.ARABIC, "colour", size=48)
    yield _task("arabic", "digits", span(0x660, 0x669), fonts.ARABIC, "inverse", per_class=80, size=32)
    yield _task("ethiopic", "letters", ETHIOPIC_FIRST, fonts.ETHIOPIC, per_class=40)
    orders = Syllables("order", fonts.ETHIOPIC, "plain")
    yield Task("glyphs-ethiopic-vowel", "glyphs-ethiopic", _debs(fonts.ETHIOPIC), orders, size=64, per_class=120)
    yield _task("nko", "letters", span(0x7CA, 0x7EA), fonts.WIDE, "colour", per_class=20)
    yield _task("tifinagh", "letters", span(0x2D30, 0x2D4F), fonts.WIDE, per_class=24)


def _indic() -> Iterator[Task]:
    yield _task("devanagari", "k-dh", span(0x915, 0x927), fonts.DEVANAGARI, per_class=80)
    yield _task("devanagari", "n-h", span(0x928, 0x939), fonts.DEVANAGARI, "colour", per_class=80)
    yield _task("devanagari", "digits", span(0x966, 0x96F), fonts.DEVANAGARI, "noisy", per_class=80, size=48)
    yield _task("bengali", "letters", span(0x995, 0x9B9), fonts.BENGALI, per_class=48)
    yield _task("bengali", "digits", span(0x9E6, 0x9EF), fonts.BENGALI, "inverse", size=32)
    yield _task("gurmukhi", "letters", span(0xA15, 0xA39), fonts.GURMUKHI, "colour", per_class=40)
    yield _task("gujarati", "letters", span(0xA95, 0xAB9), fonts.GUJARATI, per_class=48)
    yield _task("oriya", "letters", span(0xB15, 0xB39), fonts.ORIYA, "noisy", per_class=40)
    yield _task("tamil", "letters", span(0xB85, 0xBB9), fonts.TAMIL, "colour", per_class=48)
    yield _task("telugu", "k-dh", span(0xC15, 0xC27), fonts.TELUGU, per_class=80)
    yield _task("telugu", "n-h", span(0xC28, 0xC39), fonts.TELUGU, "noisy", per_class=80)
    yield _task("kannada", "letters", span(0xC95, 0xCB9), fonts.KANNADA, per_class=40)
    yield _task("malayalam", "k-dh", span(0xD15, 0xD27), fonts.MALAYALAM, "colour", per_class=80)
    yield _task("malayalam", "n-h", span(0xD28, 0xD39), fonts.MALAYALAM, per_class=80)
    yield _task("sinhala", "letters", span(0xD9A, 0xDC6), fonts.SINHALA, per_class=40)


def _southeast_asia() -> Iterator[Task]:
    yield _task("thai", "first-half", span(0xE01, 0xE17), fonts.THAI, per_class=70)
    yield _task("thai", "second-half", span(0xE18, 0xE2E), fonts.THAI, "colour", per_class=70)
    yield _task("thai", "digits", span(0xE50, 0xE59), fonts.THAI, "noisy", per_class=100, size=48)
    yield _task("lao", "letters", span(0xE81, 0xEAE), fonts.LAO, per_class=40)
    yield _task("khmer", "letters", span(0x1780, 0x17A2), fonts.KHMER, per_class=48)
    yield _task("myanmar", "letters", span(0x1000, 0x1021), fonts.MYANMAR, "colour", per_class=36)
    yield _task("tibetan", "letters", span(0xF40, 0xF69), fonts.TIBETAN, per_class=48)


def _east_asia() -> Iterator[Task]:
    yield _task("hiragana", "first-half", HIRAGANA[:23], fonts.JAPANESE, per_class=60)
    yield _task("hiragana", "second-half", HIRAGANA[23:], fonts.JAPANESE, "colour", per_class=60)
    yield _task("katakana", "first-half", KATAKANA[:23], fonts.JAPANESE, per_class=60, size=48)
    yield _task("katakana", "second-half", KATAKANA[23:], fonts.JAPANESE, "noisy", per_class=60)
    yield _task("hangul", "syllables-a", HANGUL[:19], fonts.KOREAN, per_class=60)
    yield _task("hangul", "syllables-b", HANGUL[19:], fonts.KOREAN, "noisy", per_class=60)
    for part, ink in (("initial", "plain"), ("vowel", "colour"), ("final", "plain")):
        syllables = Syllables(part, fonts.KOREAN, ink)  # type: ignore[arg-type]
        name = f"glyphs-hangul-{part}"
        yield Task(name, "glyphs-hangul", _debs(fonts.KOREAN), syllables, size=64, per_class=90)
    yield _task("han", "nature", HAN_NATURE, fonts.HAN, per_class=60)
    yield _task("han", "nature-32px", HAN_NATURE, fonts.HAN, "noisy", per_class=60, size=32)
    yield _task("han", "people", HAN_PEOPLE, fonts.HAN, "colour", per_class=60)
    yield _task("han", "alike", HAN_LIKE, fonts.HAN, per_class=60)
    yield _task("han", "numbers", HAN_NUMBERS, fonts.HAN, "noisy", per_class=60)


def _signs() -> Iterator[Task]:
    yield _task("signs", "math", MATH, fonts.MATH, per_class=40)
    yield _task("signs", "arrows", ARROWS, fonts.MATH, "colour", per_class=36)
    yield _task("signs", "currency", CURRENCY, fonts.LATIN, per_class=60)
    yield _task("signs", "chess-cards", PIECES, fonts.MATH, "noisy", per_class=60)


def _task(
    script: str,
    name: str,
    text: str,
    packages: tuple[str, ...],
    ink: Ink = "plain",
    per_class: int = 60,
    size: int = 64,
) -> Task:
    return Task(
        name=f"glyphs-{script}-{name}",
        family=f"glyphs-{script}",
        sources=_debs(packages),
        collect=Letters(text, packages, ink, per_class),
        size=size,
        per_class=per_class,
    )


def _debs(packages: tuple[str, ...]) -> tuple[Source, ...]:
    return tuple(sorted({Source("deb", package) for package in packages}))


def _folder(letter: str) -> str:
    return f"U+{ord(letter):04X}"
