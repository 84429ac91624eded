"""Every kind of image file becomes the pixels one expects, or is named unreadable."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nns.data import decode
from nns.data import decoding as decoding_module
from nns.data.decoding import examine, try_decode
from nns.data.depth import span_of, to_eight_bits
from nns.errors import DatasetError

from .conftest import encoded, noise

WHITE = (255, 255, 255)


def saved(tmp_path: Path, image: Image.Image, name: str, **options: object) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


def colour(path: Path, size: int = 4) -> tuple[int, ...]:
    """The colour of an image that has one colour only."""
    pixels = decode(path, size)
    assert pixels.shape == (3, size, size)
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[:, :1, :1]).all()
    return tuple(int(channel) for channel in pixels[:, 0, 0])


@pytest.mark.parametrize("extension", ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "ppm"])
def test_every_format_keeps_its_colour(tmp_path: Path, extension: str) -> None:
    path = saved(tmp_path, Image.new("RGB", (9, 6), (200, 30, 90)), f"a.{extension}")
    assert np.allclose(colour(path), (200, 30, 90), atol=4)  # JPEG and WebP lose a little


@pytest.mark.parametrize(
    ("mode", "fill", "expected"),
    [
        ("1", 1, WHITE),
        ("L", 77, (77, 77, 77)),
        ("LA", (0, 0), WHITE),
        ("LA", (40, 255), (40, 40, 40)),
        ("RGBA", (255, 0, 0, 0), WHITE),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
    ],
)
def test_transparency_is_laid_onto_white(
    tmp_path: Path, mode: str, fill: int | tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert colour(saved(tmp_path, Image.new(mode, (8, 8), fill), "a.png")) == expected


def test_transparent_colour_of_a_palette_becomes_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 9, 99, 199] + [0] * 762)
    assert colour(saved(tmp_path, image, "opaque.png")) == (9, 99, 199)
    assert colour(saved(tmp_path, image, "clear.png", transparency=1)) == WHITE
    assert colour(saved(tmp_path, image, "levels.png", transparency=bytes([255, 0]))) == WHITE


def test_transparent_colour_of_an_rgb_png_becomes_white(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), (9, 99, 199))
    assert colour(saved(tmp_path, image, "a.png", transparency=(9, 99, 199))) == WHITE


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    red, green, blue = colour(saved(tmp_path, Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "a.jpg"))
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_sixteen_bit_grey_is_divided_by_257(tmp_path: Path, extension: str) -> None:
    image = Image.fromarray(np.full((8, 8), 100 * 257, dtype=np.uint16))
    assert image.mode == "I;16"
    assert colour(saved(tmp_path, image, f"a.{extension}")) == (100, 100, 100)


def test_big_endian_sixteen_bit_is_read(tmp_path: Path) -> None:
    header = b"P5 4 4 65535\n"  # a PGM of 16 bits is big-endian
    path = tmp_path / "a.pgm"
    path.write_bytes(header + (200 * 257).to_bytes(2, "big") * 16)
    assert colour(path) == (200, 200, 200)


@pytest.mark.parametrize(
    ("values", "mode", "expected"),
    [
        ([0, 255], "I", [0, 255]),
        ([0, 1799], "I", [0, 112]),  # 12 bits
        ([0, 257 * 70], "I", [0, 70]),
        ([-1000, 1000], "I", [0, 255]),
        ([100_000, 300_000], "I", [0, 255]),
        ([0.0, 1.0], "F", [0, 255]),
        ([0.0, 128.0], "F", [0, 128]),
        ([-5.0, 5.0], "F", [0, 255]),
        ([7e5, 7e5], "F", [0, 0]),
        ([np.nan, 1.0], "F", [0, 255]),
        ([np.inf, 0.5], "F", [255, 128]),
    ],
)
def test_deep_images_are_scaled_by_what_they_hold(values: list[float], mode: str, expected: list[int]) -> None:
    pixels = np.array([values], dtype=np.float64)
    assert to_eight_bits(pixels, span_of(pixels, "integers" if mode == "I" else "floats"))[0].tolist() == expected


def test_float_tiff_without_a_finite_pixel_is_unreadable(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)), "a.tif")
    assert "finite" in str(try_decode(path, 4))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(24, 16), (16, 24), (16, 16)])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, size: tuple[int, int]) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, noise(1, size), "a.png", exif=exif)
    upright = saved(tmp_path, ImageOps.exif_transpose(Image.open(path)), "upright.png")
    assert np.abs(decode(path, 8).astype(int) - decode(upright, 8).astype(int)).max() <= 1


def test_shorter_side_fits_and_the_centre_is_kept(tmp_path: Path) -> None:
    image = Image.new("RGB", (300, 100), "red")
    image.paste((0, 255, 0), (100, 0, 200, 100))
    assert colour(saved(tmp_path, image, "a.png"), size=100) == (0, 255, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_odd_shapes_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    for name in ("a.png", "a.jpg"):
        assert decode(saved(tmp_path, noise(0, size), name), 16).shape == (3, 16, 16)


def test_large_jpeg_shrinks_like_a_png_of_the_same_pixels(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 1024, dtype=np.uint8)
    image = Image.fromarray(np.stack([np.tile(ramp, (768, 1))] * 3, axis=-1))
    jpeg = decode(saved(tmp_path, image, "a.jpg", quality=95), 32).astype(int)
    png = decode(saved(tmp_path, image, "a.png"), 32).astype(int)
    assert np.abs(jpeg - png).max() <= 4


def test_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), name) for name in ("red", "blue")]
    for name in ("a.gif", "a.webp", "a.png"):
        options = {"lossless": True} if name == "a.webp" else {}
        path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **options)
        assert colour(path) == (255, 0, 0)
        facts = examine(path)
        assert not isinstance(facts, str)
        assert facts.animated


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_truncated_files_are_unreadable_not_garbage(tmp_path: Path, format_: str, fraction: float) -> None:
    content = encoded(noise(0, (90, 60)), format_)
    path = tmp_path / "a.png"
    path.write_bytes(content[: int(len(content) * fraction)])
    assert isinstance(try_decode(path, 8), str)
    assert isinstance(examine(path), str)
    with pytest.raises(DatasetError, match=r"a\.png"):
        decode(path, 8)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an image"),
        (b"just a text\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, ""),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    result = try_decode(path, 8)
    assert isinstance(result, str)
    assert reason in result


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    assert try_decode(tmp_path / "none.png", 8) == "no such file"
    assert try_decode(tmp_path, 8) == "a folder, not an image"


def test_decompression_bombs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(encoded(Image.new("1", (20_000, 10_000))))
    assert try_decode(path, 8) == "more than 100 million pixels"


def test_limit_counts_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, noise(0, (10, 10)), "a.png")
    monkeypatch.setattr(decoding_module, "MAX_PIXELS", 100)
    assert not isinstance(try_decode(path, 4), str)
    monkeypatch.setattr(decoding_module, "MAX_PIXELS", 99)
    assert isinstance(try_decode(path, 4), str)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow comments on damaged TIFFs
def test_flipped_bytes_never_raise(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "a"
    for format_ in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        for _ in range(20):
            content = bytearray(encoded(noise(0, (20, 20)), format_))
            for position in generator.integers(0, len(content), 4):
                content[position] = generator.integers(0, 256)
            path.write_bytes(content)
            decoded, examined = try_decode(path, 8), examine(path)
            assert isinstance(decoded, str) == isinstance(examined, str)


def test_memory_images_are_decoded() -> None:
    class Held:
        def open(self) -> Image.Image:
            return Image.open(io.BytesIO(encoded(Image.new("RGB", (8, 8), "blue"))))

    assert decode(Held(), 4)[2].min() == 255
