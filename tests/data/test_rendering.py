"""Deep and transparent images become 8 bits in one way for a whole dataset, and so that they can be seen."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from nns.data import Dataset, decode, inspect_dataset
from nns.data.decoding import ImageFacts, examine, try_decode
from nns.data.depth import span_of
from nns.data.rendering import Rendering

from .conftest import encoded

RNG = np.random.default_rng(7)


def folder_of(root: Path, images: dict[str, Image.Image | bytes]) -> Path:
    """Write images to the names given."""
    for name, image in images.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            image if isinstance(image, bytes) else encoded(image, "TIFF" if path.suffix == ".tif" else "PNG")
        )
    return root


def two_classes(make: object, suffix: str = ".png", n: int = 8) -> dict[str, Image.Image | bytes]:
    """So many images in each of two classes."""
    return {f"{name}/{number}{suffix}": make(number) for name in ("red", "blue") for number in range(n)}  # type: ignore[operator]


def pixels_of(root: Path, size: int = 48) -> np.ndarray:
    dataset = Dataset.open(root)
    images, kept, skipped = dataset.decode(range(len(dataset)), size)
    assert not skipped
    assert len(kept) == len(dataset)
    return images


def deep(top: int, channels: int = 1, low: int = 0) -> np.ndarray:
    shape = (48, 48) if channels == 1 else (48, 48, channels)
    return RNG.integers(low, top, shape, endpoint=True).astype(np.uint16)


def png16(values: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 16 bits a channel, of 1 to 4 channels, which Pillow does not write."""
    height, width, channels = (*values.shape, 1)[:3]
    rows = values.astype(">u2").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_bits_that_are_used_are_the_range(tmp_path: Path, bits: int) -> None:
    images = pixels_of(folder_of(tmp_path, two_classes(lambda _: Image.fromarray(deep(2**bits - 1)))))
    assert abs(images.mean() - 127.5) < 2
    assert images.min() == 0
    assert images.max() == 255


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_sixteen_bit_colours_are_scaled_like_grey(tmp_path: Path, channels: int, bits: int) -> None:
    def make(_: int) -> bytes:
        values = deep(2**bits - 1, channels)
        if channels in (2, 4):
            values[..., -1] = 65535
        return png16(values)

    assert abs(pixels_of(folder_of(tmp_path, two_classes(make))).mean() - 127.5) < 2


def test_sixteen_bit_colours_keep_their_order(tmp_path: Path) -> None:
    values = np.zeros((48, 48, 3), np.uint16)
    values[..., 0], values[..., 1], values[..., 2] = 4095, 2048, 0
    (tmp_path / "a.png").write_bytes(png16(values))
    assert decode(tmp_path / "a.png", 4)[:, 0, 0].tolist() == [255, 128, 0]


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_tiffs_of_either_byte_order_are_scaled(tmp_path: Path, order: str) -> None:
    values = np.full((8, 8, 3), 2048, f"{order}u2")
    entries = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 3, 0), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 0)]
    entries += [(277, 3, 1, 3), (278, 3, 1, 8), (279, 4, 1, values.nbytes)]
    after = 8 + 2 + 12 * len(entries) + 4
    body = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        place = {258: after, 273: after + 6}.get(tag, value)
        packed = struct.pack(f"{order}I", place) if kind == 4 or count > 2 else struct.pack(f"{order}HH", place, 0)
        body += struct.pack(f"{order}HHI", tag, kind, count) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    content = head + body + bytes(4) + struct.pack(f"{order}HHH", 16, 16, 16) + values.tobytes()
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    values[0, 0] = 4095
    path.write_bytes(content[: -values.nbytes] + values.tobytes())
    assert decode(path, 8)[:, 4, 4].tolist() == [128, 128, 128]


def test_one_range_for_all_images_of_a_dataset(tmp_path: Path) -> None:
    bright = np.full((48, 48), 4000, np.uint16)
    dark = np.full((48, 48), 400, np.uint16)
    images = pixels_of(folder_of(tmp_path, two_classes(lambda i: Image.fromarray(bright if i % 2 else dark))))
    assert sorted({int(image.max()) for image in images}) == [25, 249]


def test_the_range_does_not_depend_on_names_order_or_threads(tmp_path: Path) -> None:
    made = [Image.fromarray(deep(2**12 - 1)) for _ in range(40)]
    one = folder_of(tmp_path / "one", {f"{'ab'[i % 2]}/{i}.png": image for i, image in enumerate(made)})
    two = folder_of(tmp_path / "two", {f"{'ab'[i % 2]}/{99 - i}.png": image for i, image in enumerate(made)})
    assert Dataset.open(one).rendering == Dataset.open(two).rendering == Rendering(integers=(0.0, 4095.0))
    dataset = Dataset.open(one)
    threaded, _, _ = dataset.decode(range(40), 16, workers=4)
    assert (threaded == Dataset.open(one).decode(range(40), 16, workers=1)[0]).all()


def test_one_odd_image_does_not_set_the_range(tmp_path: Path) -> None:
    images = two_classes(lambda i: Image.fromarray(deep(1000)))
    folder_of(tmp_path, images | {"red/odd.png": Image.fromarray(deep(65535))})
    assert Dataset.open(tmp_path).rendering == Rendering(integers=(0.0, 1023.0))


def test_two_kinds_of_images_have_one_range(tmp_path: Path) -> None:
    folder_of(tmp_path, two_classes(lambda i: Image.fromarray(deep(16_000 if i % 4 == 0 else 1000))))
    assert Dataset.open(tmp_path).rendering == Rendering(integers=(0.0, 16383.0))
    blank = [np.full((48, 48), 7, np.uint16)] * 3
    folder_of(tmp_path, two_classes(lambda i: Image.fromarray(deep(4000) if i > 2 else blank[i])))
    assert Dataset.open(tmp_path).rendering == Rendering(integers=(0.0, 4095.0))


def test_alpha_of_twelve_bits_is_scaled_as_the_colours_are(tmp_path: Path) -> None:
    def make(_: int) -> bytes:
        values = deep(4095, 4)
        values[..., 3] = 4095
        values[:24, :, 3] = 0
        return png16(values)

    images = pixels_of(folder_of(tmp_path, two_classes(make)))
    assert (images[:, :, :24] == 255).all()
    assert abs(images[:, :, 24:].mean() - 127.5) < 3


def test_one_value_for_none_does_not_set_the_range(tmp_path: Path) -> None:
    def make(number: int) -> Image.Image:
        values = RNG.uniform(0, 255, (48, 48)).astype(np.float32)
        values[0, number] = -9999
        return Image.fromarray(values)

    images = pixels_of(folder_of(tmp_path, two_classes(make, ".tif")))
    assert abs(images.mean() - 127.5) < 2


@pytest.mark.parametrize("none", [-9999.0, -32768.0, 1e20, -3.4028235e38, np.nan, np.inf])
@pytest.mark.parametrize("span", [(0.0, 1.0), (0.0, 255.0), (1000.0, 1200.0), (-40.0, 30.0), (0.0, 2.0)])
def test_ranges_of_floats_are_robust(none: float, span: tuple[float, float]) -> None:
    values = RNG.uniform(*span, 10_000)
    values[:3000] = none
    low, high = span_of(values, "floats")
    assert low == pytest.approx(span[0], abs=(span[1] - span[0]) / 50)
    assert high == pytest.approx(span[1], abs=(span[1] - span[0]) / 50)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.r_[RNG.integers(0, 4096, 9000), [65535] * 3], (0, 4095)),  # hot pixels
        (np.r_[RNG.integers(0, 4096, 9000), [20_000, 40_000, 65_535]], (0, 4095)),
        (np.r_[np.zeros(99_000), [4000] * 20], (0, 4095)),  # a small thing on nothing
        (np.r_[np.zeros(500), np.full(500, 65535)], (0, 65535)),  # a mask
        (np.r_[np.zeros(500), [65534] * 250, [65535] * 250], (0, 65535)),
        (RNG.integers(0, 16, 9000), (0, 15)),
        (RNG.integers(1000, 1201, 9000), (1000, 1200)),
        (np.r_[np.zeros(1000), RNG.integers(1000, 1201, 9000)], (1000, 1200)),
        (RNG.integers(-1000, 3000, 9000), (-1000, 3000)),
        (np.full(100, 30_000), (0, 65535)),
    ],
)
def test_ranges_of_integers_are_robust(values: np.ndarray, expected: tuple[int, int]) -> None:
    assert span_of(values.astype(float), "integers") == pytest.approx(expected, abs=12)


def test_gdals_value_for_none_is_left_out(tmp_path: Path) -> None:
    values = RNG.uniform(0, 40, (48, 48)).astype(np.float32)
    values[:24] = 150
    tags = {42113: "150"}
    out = io.BytesIO()
    Image.fromarray(values).save(out, "TIFF", tiffinfo=tags)
    (tmp_path / "a.tif").write_bytes(out.getvalue())
    pixels = decode(tmp_path / "a.tif", 48)
    assert pixels[:, :24].max() == 0
    assert pixels[:, 25:].max() > 250


def drawing(ink: int, paper: int | None = None, visible: int = 255) -> Image.Image:
    """A bar of one grey on what is transparent."""
    pixels = np.full((48, 48, 4), ink if paper is None else paper, np.uint8)
    pixels[5:40, 20:28, :3] = ink
    pixels[..., 3] = 0
    pixels[5:40, 20:28, 3] = visible
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("inks", "behind"),
    [
        ([255], 0),
        ([250, 255], 0),
        ([0], 255),
        ([0, 128], 255),
        ([0, 255], 128),
        ([200, 230, 255], 0),
        ([255, 0, 128], 192),
    ],
)
def test_transparency_is_laid_onto_what_shows_the_images(tmp_path: Path, inks: list[int], behind: int) -> None:
    root = folder_of(tmp_path, two_classes(lambda i: drawing(inks[i % len(inks)]), n=9))
    images = pixels_of(root)
    assert {int(image[0, 0, 0]) for image in images} == {behind}
    assert all(image.max() - image.min() > 24 for image in images)


def test_one_image_of_a_hundred_does_not_turn_the_others(tmp_path: Path) -> None:
    images = two_classes(lambda i: drawing(i), n=49) | {"red/odd.png": drawing(255)}
    root = folder_of(tmp_path, images)
    assert Dataset.open(root).rendering.background == 255
    assert inspect_dataset(Dataset.open(root)).blank == {"of one colour": ("red/odd.png",)}


def test_an_alpha_channel_that_is_empty_is_none(tmp_path: Path) -> None:
    rgb = RNG.integers(0, 255, (48, 48, 3), dtype=np.uint8)
    for alpha in (0, 1):
        Image.fromarray(np.dstack([rgb, np.full((48, 48), alpha, np.uint8)])).save(tmp_path / "a.png")
        assert (decode(tmp_path / "a.png", 48) == rgb.transpose(2, 0, 1)).all()


def reference(image: Image.Image) -> np.ndarray:
    """What Pillow makes of an image of 8 bits, on white."""
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    canvas = Image.new("RGBA", image.size, "white")
    canvas.alpha_composite(image.convert("RGBA"))
    return np.asarray(canvas.convert("RGB")).transpose(2, 0, 1)


class Held:
    """An image in memory."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image

    def open(self) -> Image.Image:
        return self.image.copy()


BASE = Image.fromarray(
    np.dstack([RNG.integers(0, 255, (16, 16, 3)), np.tile(np.arange(0, 256, 16), (16, 1))]).astype(np.uint8)
)
MODES = ("1", "L", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LA", "La", "RGBa", "PA")
FORMS = {
    "none": None,
    "index": 0,
    "grey": 255,
    "bytes": bytes(range(0, 256)),
    "few bytes": bytes([0, 128]),
    "colour": BASE.convert("RGB").getpixel((3, 3)),
}


def in_mode(mode: str) -> Image.Image:
    if mode == "PA":
        image = BASE.convert("RGB").convert("P").convert("PA")
        image.putalpha(BASE.getchannel("A"))
        return image
    first = {"La": "LA", "RGBa": "RGBA"}.get(mode)
    return BASE.convert(first).convert(mode) if first else BASE.convert(mode)


FITTING = {"P": (int, bytes), "L": (int,), "1": (int,), "RGB": (tuple,)}


@pytest.mark.parametrize(
    ("mode", "form"),
    [(m, f) for m, f in itertools.product(MODES, FORMS) if f == "none" or isinstance(FORMS[f], FITTING.get(m, ()))],
)
def test_every_mode_and_form_of_transparency_is_as_pillow_has_it(mode: str, form: str) -> None:
    image = in_mode(mode)
    value = FORMS[form]
    if value is not None:
        image.info["transparency"] = value
    found = try_decode(Held(image), 16, rendered=lambda: Rendering(background=255))
    assert (found == reference(image)).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_is_found_at_every_depth(tmp_path: Path, bits: int) -> None:
    values = (
        np.tile(np.arange(16) % 2**bits, (16, 1)) if bits < 8 else np.tile(np.arange(16) * 2 ** (bits - 4), (16, 1))
    )
    packed = values.astype(">u2").tobytes() if bits == 16 else None
    rows = [int("".join(f"{v:0{bits}b}" for v in row), 2).to_bytes(2 * bits, "big") for row in values.tolist()]
    raw = b"".join(b"\0" + row for row in rows)
    assert packed is None or packed == b"".join(rows)
    key = int(values[0, 3])
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 16, 16, bits, 0, 0, 0, 0)), (b"tRNS", struct.pack(">H", key))]
    parts += [(b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in parts
    )
    path = tmp_path / "a.png"
    path.write_bytes(content)
    top = {16: 65535, 8: 255}.get(bits, 2**bits - 1)
    expected = np.where(values == key, 255, np.rint(values * 255 / top)).astype(int)
    assert abs(decode(path, 16)[0].astype(int) - expected).max() <= 1


def test_a_transparent_colour_of_sixteen_bits_is_found(tmp_path: Path) -> None:
    values = RNG.integers(0, 65535, (16, 16, 3))
    values[5, 6] = (300, 301, 302)
    values[7, 8] = (300, 301, 303)  # the same upper bytes
    (tmp_path / "a.png").write_bytes(png16(values, (b"tRNS", struct.pack(">HHH", 300, 301, 302))))
    pixels = decode(tmp_path / "a.png", 16)
    assert pixels[:, 5, 6].tolist() == [255, 255, 255]
    assert pixels[:, 7, 8].tolist() == [1, 1, 1]


def profile_of(name: str) -> bytes:
    """A colour profile that Pillow makes."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()  # type: ignore[arg-type]


def display_p3() -> bytes:
    """sRGB's own profile with the red and green primaries of a wider space."""
    profile = bytearray(profile_of("sRGB"))
    tags = struct.unpack_from(">I", profile, 128)[0]
    wide = {b"rXYZ": (0.5151, 0.2412, -0.0011), b"gXYZ": (0.2919, 0.6922, 0.0419), b"bXYZ": (0.1572, 0.0666, 0.7841)}
    for number in range(tags):
        name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        if name in wide:
            struct.pack_into(">iii", profile, offset + 8, *(round(value * 65536) for value in wide[name]))
    return bytes(profile)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_profiles_are_honoured(tmp_path: Path, format_: str) -> None:
    image = Image.new("RGB", (16, 16), (200, 100, 50))
    options = (
        {"quality": 100, "subsampling": 0} if format_ == "JPEG" else {"lossless": True} if format_ == "WEBP" else {}
    )
    path = tmp_path / "a"
    path.write_bytes(encoded(image, format_, icc_profile=display_p3(), **options))
    made_for, wanted = (ImageCms.ImageCmsProfile(io.BytesIO(p)) for p in (display_p3(), profile_of("sRGB")))
    expected = ImageCms.profileToProfile(image, made_for, wanted)
    assert expected is not None
    assert abs(decode(path, 4)[:, 0, 0].astype(int) - np.array(expected.getpixel((0, 0)))).max() <= 2
    assert abs(decode(path, 4)[:, 0, 0].astype(int) - (200, 100, 50)).max() > 8
    facts = examine(path)
    assert isinstance(facts, ImageFacts)
    assert facts.recoloured


@pytest.mark.parametrize("profile", [profile_of("sRGB"), b"no profile", b""])
def test_srgb_and_broken_profiles_change_nothing(tmp_path: Path, profile: bytes) -> None:
    image = Image.fromarray(RNG.integers(0, 255, (16, 16, 3), dtype=np.uint8))
    (tmp_path / "a.png").write_bytes(encoded(image, icc_profile=profile))
    assert (decode(tmp_path / "a.png", 16) == np.asarray(image).transpose(2, 0, 1)).all()


def test_a_profile_that_is_too_large_for_pillow_is_used(tmp_path: Path) -> None:
    profile = display_p3() + bytes(3_000_000)
    profile = struct.pack(">I", len(profile)) + profile[4:]
    (tmp_path / "small.png").write_bytes(encoded(Image.new("RGB", (16, 16), (200, 100, 50)), icc_profile=display_p3()))
    (tmp_path / "large.png").write_bytes(encoded(Image.new("RGB", (16, 16), (200, 100, 50)), icc_profile=profile))
    assert (decode(tmp_path / "small.png", 4) == decode(tmp_path / "large.png", 4)).all()
    assert decode(tmp_path / "large.png", 4)[0, 0, 0] > 205


def test_every_image_with_a_profile_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    wrong = encoded(Image.fromarray(RNG.integers(0, 255, (48, 48, 3), dtype=np.uint8)), icc_profile=b"no profile")
    large = encoded(
        Image.fromarray(RNG.integers(0, 255, (48, 48, 3), dtype=np.uint8)), "TIFF", icc_profile=bytes(9 << 20)
    )
    report = inspect_dataset(Dataset.open(folder_of(tmp_path, two_classes(lambda i: large if i == 0 else wrong))))
    assert sorted(map(len, report.warnings.values())) == [2, 14]
    assert not report.unreadable


def test_lab_is_converted(tmp_path: Path) -> None:
    rgb = Image.new("RGB", (16, 16), (200, 100, 50))
    lab = ImageCms.profileToProfile(
        rgb, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    lab.save(tmp_path / "a.tif")
    assert abs(decode(tmp_path / "a.tif", 4)[:, 0, 0].astype(int) - (200, 100, 50)).max() <= 4


@pytest.mark.parametrize(
    ("make", "lack"),
    [
        (lambda i: Image.new("RGB", (48, 48), (i, 9, 200)), "of one colour"),
        (lambda _: Image.fromarray(RNG.integers(100, 105, (48, 48, 3), dtype=np.uint8)), "nearly of one colour"),
        (lambda _: Image.fromarray(RNG.integers(0, 16, (48, 48, 3), dtype=np.uint8)), "nearly black"),
        (lambda _: Image.fromarray(RNG.integers(240, 255, (48, 48, 3), dtype=np.uint8)), "nearly white"),
        (lambda _: Image.fromarray(RNG.integers(100, 120, (48, 48, 3), dtype=np.uint8)), "of hardly any contrast"),
        (lambda _: Image.new("RGBA", (48, 48), (9, 9, 9, 0)), "of one colour"),
        (lambda _: Image.fromarray(np.full((48, 48), 30_000, np.uint16)), "of one colour"),
    ],
)
def test_images_in_which_there_is_nothing_to_see_are_found(tmp_path: Path, make: object, lack: str) -> None:
    report = inspect_dataset(Dataset.open(folder_of(tmp_path, two_classes(make))))
    warnings = [finding.what for finding in report.findings if finding.severity == "warning"]
    assert any(f"all 16 images are {lack}" in what for what in warnings), warnings
    assert sum(map(len, report.blank.values())) == 16


def test_ordinary_images_are_not_blank(tmp_path: Path) -> None:
    report = inspect_dataset(Dataset.open(folder_of(tmp_path, two_classes(lambda i: drawing(0)))))
    assert report.blank == {}


def test_a_search_and_a_fine_tuning_say_that_there_is_nothing_to_see(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dark = two_classes(lambda _: Image.fromarray(RNG.integers(0, 16, (48, 48, 3), dtype=np.uint8)))
    dark |= {f"red/fine{n}.png": Image.fromarray(RNG.integers(0, 255, (48, 48, 3), dtype=np.uint8)) for n in range(4)}
    dataset = Dataset.open(folder_of(tmp_path, dark))
    dataset.decode_splits(32)
    dataset.tell_odd_pixels()
    dataset.tell_odd_pixels()  # once is enough
    assert [record.message for record in caplog.records] == [*dataset.seen_decoded.warnings]
    assert "16 of 20 images that were read are nearly black as decoded (blue/0.png" in caplog.text
    told: list[str] = []
    Dataset.open(tmp_path).tell_odd_pixels(told.append)
    assert told == []  # nothing was decoded
