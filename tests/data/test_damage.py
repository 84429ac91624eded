"""A file that is not whole is named, never half an image; what else is wrong with a file is a finding."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from nns.data import Dataset, decode, inspect_dataset
from nns.data.decoding import ImageFacts, examine, try_decode
from nns.data.given import to_image
from nns.data.integrity import png_chunks
from nns.data.left_out import IMAGE_EXTENSIONS
from nns.data.opening import FORMATS

from .conftest import MakeFolder, class_files, encoded, noise

SOURCES = Path(__file__).parents[2]


def photo(size: tuple[int, int] = (160, 120)) -> Image.Image:
    """An image as smooth and as noisy as a photograph."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    smooth = np.stack([x * 255 // size[0], y * 255 // size[1], (x + y) % 256], -1)
    grain = np.random.default_rng(0).normal(0, 8, smooth.shape)
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def tried(path: Path, content: bytes) -> str:
    """Why a content cannot be read; empty if it can."""
    path.write_bytes(content)
    results = try_decode(path, 32), examine(path)
    assert isinstance(results[0], str) == isinstance(results[1], str)
    return results[0] if isinstance(results[0], str) else ""


def jpeg_damages(content: bytes) -> dict[str, bytes]:
    """Ways in which a JPEG ends early, or goes on as something else."""
    random = np.random.default_rng(1)
    start = content.index(b"\xff\xda") + 14
    damaged = {}
    for share in (0.1, 0.3, 0.6, 0.9, 0.98):
        at = start + int((len(content) - start) * share)
        rest = len(content) - at - 2
        damaged |= {
            f"cut at {share}": content[:at],
            f"cut at {share}, with an end": content[:at] + b"\xff\xd9",
            f"an end marker at {share}": content[:at] + b"\xff\xd9" + content[at:],
            f"zeros from {share}": content[:at] + bytes(rest) + b"\xff\xd9",
            f"ones from {share}": content[:at] + b"\xff\x00" * (rest // 2) + b"\xff\xd9",
            f"noise from {share}": content[:at] + random.bytes(rest) + b"\xff\xd9",
        }
    return damaged


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpegs_that_end_early_are_unreadable(tmp_path: Path, mode: str, progressive: bool) -> None:
    content = encoded(photo().convert(mode), "JPEG", quality=85, progressive=progressive)
    assert tried(tmp_path / "a.jpg", content) == ""
    taken = [what for what, bad in jpeg_damages(content).items() if not tried(tmp_path / "a.jpg", bad)]
    assert taken == []


def test_a_progressive_jpeg_without_its_last_scans_is_unreadable(tmp_path: Path) -> None:
    content = encoded(photo(), "JPEG", progressive=True)
    scans = [found.start() for found in re.finditer(b"\xff\xda", content)]
    assert len(scans) > 5
    for scan in scans[1:]:
        tables = content[:scan].rindex(b"\xff\xc4") if content[:scan].endswith(b"\0") else scan
        assert "truncated" in tried(tmp_path / "a.jpg", content[: min(tables, scan)] + b"\xff\xd9")


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (16, 16), (17, 9), (48, 48)])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_small_jpegs_are_read_unless_damaged(tmp_path: Path, size: tuple[int, int], subsampling: int) -> None:
    content = encoded(noise(0, size), "JPEG", subsampling=subsampling)
    assert tried(tmp_path / "a.jpg", content) == ""
    assert tried(tmp_path / "a.jpg", content[:-6] + b"\xff\xd9")


def test_padding_of_a_jpeg_is_no_damage(tmp_path: Path) -> None:
    content = encoded(photo(), "JPEG")
    for padding in (b"\0", b"\0" * 200, b"\0" * 4000, b"\xff" * 100, b"\xaa" * 50):
        assert tried(tmp_path / "a.jpg", content[:-2] + padding + b"\xff\xd9") == ""
        assert tried(tmp_path / "a.jpg", content + padding) == ""
        assert (decode(tmp_path / "a.jpg", 32) == decode_of(content, tmp_path)).all()


def decode_of(content: bytes, folder: Path) -> np.ndarray:
    (folder / "whole").write_bytes(content)
    return decode(folder / "whole", 32)


def test_a_jpeg_of_a_thousand_scans_is_refused_at_once(tmp_path: Path) -> None:
    content = encoded(photo(), "JPEG", progressive=True)
    scan = content.rindex(b"\xff\xda")
    assert "scans" in tried(tmp_path / "a.jpg", content[:-2] + content[scan:-2] * 1000 + b"\xff\xd9")
    assert tried(tmp_path / "a.jpg", content + b"\xff\xda" * 1000) == ""  # a film behind the picture


def test_a_png_of_a_million_chunks_is_refused_at_once(tmp_path: Path) -> None:
    assert "chunks" in tried(tmp_path / "a.png", with_chunks(encoded(noise(0)), chunk(b"prVt", b"") * 200_000))


def test_png_checksums_count_where_pixels_are(tmp_path: Path) -> None:
    content = encoded(photo())
    spans = [(start, end) for kind, start, end in png_chunks(content) if kind == b"IDAT"]
    for start, end in spans:
        flipped = bytearray(content)
        flipped[end - 1] ^= 1
        assert "checksum" in tried(tmp_path / "a.png", bytes(flipped))
        assert tried(tmp_path / "a.png", content[: (start + end) // 2] + bytes(len(content) - (start + end) // 2))


def test_a_png_without_its_end_is_whole(tmp_path: Path) -> None:
    content = encoded(photo())
    assert tried(tmp_path / "a.png", content[:-12]) == ""
    assert tried(tmp_path / "a.png", content[:-20])


@pytest.mark.parametrize("colour", [0, 2, 3, 4, 6])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_whose_pixels_merely_end_is_unreadable(tmp_path: Path, colour: int, interlaced: bool) -> None:
    passes = [(5, 5), (4, 5), (9, 4), (8, 9), (17, 8), (16, 17), (33, 16)] if interlaced else [(33, 33)]
    channels = {2: 3, 4: 2, 6: 4}.get(colour, 1)
    for bits in (8,) if colour == 3 else (8, 16):
        step = channels * bits // 8
        pixels = b"".join((b"\0" + (bytes(range(1, 256)) * 2)[: columns * step]) * rows for columns, rows in passes)
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 33, 33, bits, colour, 0, 0, interlaced))
        start = b"\x89PNG\r\n\x1a\n" + header + (chunk(b"PLTE", bytes(768)) if colour == 3 else b"")

        def png(length: int, start: bytes = start, pixels: bytes = pixels) -> bytes:
            return start + chunk(b"IDAT", zlib.compress(pixels[:length])) + chunk(b"IEND", b"")

        assert tried(tmp_path / "a.png", png(len(pixels))) == ""
        row = 1 + 33 * step
        for length in (len(pixels) - 1, len(pixels) - row, len(pixels) - 16 * row, 5 * (1 + 5 * step)):
            assert "truncated" in tried(tmp_path / "a.png", png(length)), (bits, length)
            if bits == 8:  # a deep one stays a file until it is decoded
                with Image.open(tmp_path / "a.png") as given, pytest.raises((ValueError, OSError), match="truncated"):
                    to_image(given)


@pytest.mark.parametrize("format_", ["WEBP", "AVIF"])
def test_a_file_that_was_not_written_to_its_end_is_unreadable(tmp_path: Path, format_: str) -> None:
    content = encoded(photo(), format_)
    assert tried(tmp_path / "a", content) == ""
    for share in (0.3, 0.6, 0.9):
        at = int(len(content) * share)
        assert "zeros" in tried(tmp_path / "a", content[:at] + bytes(len(content) - at))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(content: bytes, *chunks: bytes, end: bool = False) -> bytes:
    """Put chunks after the header of a PNG, or before its end."""
    at = len(content) - 12 if end else 33
    return content[:at] + b"".join(chunks) + content[at:]


LARGE = zlib.compress(b"A" * 3_000_000)


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"x\0\0" + LARGE),
        chunk(b"iTXt", b"x\0\1\0\0\0" + LARGE),
        chunk(b"tEXt", b"x\0" + b"A" * 3_000_000),
        chunk(b"tEXt", b"x\0" + b"A" * 1_000_000) * 70,
        chunk(b"zTXt", b"Raw profile type exif\0\0" + LARGE),
        chunk(b"iCCP", b"x\0\0" + LARGE),
        chunk(b"iCCP", b"x\0\0" + b"no zlib"),
        chunk(b"tIME", b"1234567")[:-1] + b"?",
        chunk(b"eXIf", b"nonsense"),
    ],
    ids=["ztxt", "itxt", "text", "texts", "exif", "profile", "bad profile", "checksum", "bad exif"],
)
def test_metadata_is_no_reason_to_refuse_pixels(tmp_path: Path, extra: bytes, end: bool) -> None:
    content = encoded(noise(0))
    assert (decode_of(with_chunks(content, extra, end=end), tmp_path) == decode_of(content, tmp_path)).all()


def test_a_small_text_still_says_how_an_image_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = exif.tobytes()
    text = f"\nexif\n{len(raw):8d}\n{raw.hex()}\n".encode()
    content = encoded(noise(0, (8, 8)))
    long_one = chunk(b"zTXt", b"x\0\0" + LARGE)
    turned = with_chunks(content, long_one, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)))
    assert (decode_of(turned, tmp_path) == np.rot90(decode_of(content, tmp_path), -1, (1, 2))).all()


def test_no_program_is_started_for_an_image(tmp_path: Path) -> None:
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n{ } loop\nshowpage\n"
    assert "not an image" in tried(tmp_path / "a.png", script)
    assert not {"EPS", "WMF", "MPEG", "GRIB", "BUFR", "HDF5", "FITS"} & set(FORMATS)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (bytes(5000), "zeros"),
        (b"<!DOCTYPE html><html>404", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "heic"),
        (b"%PDF-1.4", "PDF"),
        (b"II*\0\xff\xff\xff\x0f" + bytes(90), "damaged"),
        (b"PK\x03\x04" + bytes(30), "ZIP"),
        (b"nothing of the kind", "not read"),
    ],
)
def test_what_is_often_mistaken_for_an_image_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    reason = tried(tmp_path / "a.jpg", content)
    assert reason.startswith("not an image")
    assert what in reason


def test_what_is_named_like_an_image_is_of_a_format_that_is_read() -> None:
    Image.init()
    formats = {Image.registered_extensions().get(extension) for extension in IMAGE_EXTENSIONS} - {None}
    assert formats <= {*FORMATS, "MPO"}


def test_images_are_opened_in_one_place_only() -> None:
    calls = re.compile(r"\bImage\.open\(|PIL\.Image\.open|import open\b|imread\(|read_image\(|decode_image\(")
    found = [
        path.relative_to(SOURCES).as_posix()
        for folder in ("src", "plugins")
        for path in (SOURCES / folder).rglob("*.py")
        if "tests" not in path.parts and calls.search(path.read_text(encoding="utf-8"))
    ]
    assert found == ["src/nns/data/opening.py"]


def test_what_pillow_says_is_kept_and_not_printed(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x09\0\0\0\x00\x10\0\0"  # nine values that are not there
    (tmp_path / "a.jpg").write_bytes(encoded(photo(), "JPEG", exif=exif))
    code = (
        "import sys, pathlib; from nns.data.decoding import examine; print(examine(pathlib.Path(sys.argv[1])).warnings)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "Truncated File Read" in done.stdout


def test_what_libtiff_prints_makes_an_image_unreadable(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = bytearray(encoded(photo().convert("1"), "TIFF", compression="group4"))
    content[len(content) // 2] ^= 0x5A
    assert "Fax4Decode" in tried(tmp_path / "a.tif", bytes(content))
    assert capfd.readouterr().err == ""


def test_warnings_are_the_users_again_afterwards(tmp_path: Path) -> None:
    tried(tmp_path / "a.jpg", encoded(photo(), "JPEG"))
    import warnings

    with pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", UserWarning, stacklevel=1)


def test_the_doctor_tells_what_decoders_say(make_folder: MakeFolder) -> None:
    padded = encoded(photo(), "JPEG")[:-2] + bytes(200) + b"\xff\xd9"
    report = inspect_dataset(Dataset.open(make_folder(class_files({"a": 9, "b": 9}) | {"a/x.jpg": padded})))
    assert list(report.warnings.values()) == [("a/x.jpg",)]
    assert any("extraneous bytes" in finding.what and "a/x.jpg" in finding.what for finding in report.findings)


def test_many_different_warnings_are_few_findings(make_folder: MakeFolder) -> None:
    jpeg = encoded(photo(), "JPEG")
    files = {f"{'ab'[n % 2]}/{n}.jpg": jpeg[:-2] + bytes(200 + 10 * n) + b"\xff\xd9" for n in range(40)}
    report = inspect_dataset(Dataset.open(make_folder(files)))
    assert len(report.warnings) > 30
    assert sum("decoder" in finding.what for finding in report.findings) == 6


def test_mpo_and_other_formats_are_read(tmp_path: Path) -> None:
    both = io.BytesIO()
    photo().save(both, "MPO", save_all=True, append_images=[photo()])
    assert tried(tmp_path / "a.mpo", both.getvalue()) == ""
    for format_ in ("AVIF", "JPEG2000", "QOI", "PCX", "ICO", "TGA", "DIB"):
        assert tried(tmp_path / "a", encoded(photo((64, 64)), format_)) == "", format_
    facts = examine(tmp_path / "a.mpo")
    assert isinstance(facts, ImageFacts)
    assert facts.width == 160
    assert PngImagePlugin.MAX_TEXT_CHUNK == 2**20  # of the process: not ours to change
