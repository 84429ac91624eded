"""Frames: what is cut, encoded and decoded comes back bit for bit, and what is damaged is refused."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from nns.stores import _frames as frames
from nns.stores._frames import DIFFERENCE, RAW, SLICE, ZSTD, Encoded, SliceIndex, codecs
from nns.stores._frames import pieces as splitting

ITEMS = (1, 2, 4, 8)
quick = settings(max_examples=60, deadline=None)


def decoded(frame, base=None):
    return frames.decode(frame.codec, frame.item, frame.data, frame.length, base)


def weights_like(count, seed=0, scale=0.05):
    return (np.random.default_rng(seed).standard_normal(count) * scale).astype("<f4")


def compressed(data, **settings):
    return zstandard.ZstdCompressor(**settings).compress(data)


# --- codecs 0 and 1


@quick
@given(st.binary(max_size=300), st.integers(0, 3000), st.sampled_from(ITEMS))
def test_any_bytes_come_back(data, repeats, item):
    data = data + bytes(repeats) + data[::-1]
    frame = frames.encode(data, item)
    assert frame.length == len(data)
    assert decoded(frame) == data
    assert frames.decode(frame.codec, frame.item, memoryview(frame.data), frame.length) == data


@pytest.mark.parametrize("item", ITEMS)
@pytest.mark.parametrize("left_over", [0, 1, 7])
def test_shuffled_frames_are_what_the_format_says(item, left_over):
    data = np.arange(4096, dtype="<u8").tobytes() + b"\x07" * left_over
    frame = frames.encode(data, item)
    assert (frame.codec, frame.item) == (ZSTD, item)
    count = len(data) // item
    planes = b"".join(data[k : count * item : item] for k in range(item)) + data[count * item :]
    assert zstandard.ZstdDecompressor().decompress(frame.data) == planes
    assert frames.decode(ZSTD, item, compressed(planes), len(data)) == data


def test_weights_get_smaller_and_noise_stays_raw():
    data = weights_like(100_000).tobytes()
    frame = frames.encode(data, 4)
    assert frame.codec == ZSTD
    assert len(frame.data) < 0.88 * len(data)
    assert decoded(frame) == data
    noise = np.random.default_rng(0).bytes(10_000)
    assert frames.encode(noise, 4) == Encoded(RAW, 1, noise, len(noise))
    assert frames.encode(b"", 4) == Encoded(RAW, 1, b"", 0)


def test_mantissas_and_exponents_share_no_block():
    data = weights_like(8000).tobytes()
    together = compressed(b"".join(codecs._shuffle(np.frombuffer(data, np.uint8), 4)), level=1)
    assert len(frames.encode(data, 4).data) < 0.96 * len(together)


@pytest.mark.parametrize("size", [1, 70_000, 1_000_000, 20_000_001])
def test_what_compresses_too_well_is_padded_until_it_is_no_bomb(size):
    frame = frames.encode(bytes(size), 4)
    assert size <= frames.MAX_RATIO * len(frame.data) + frames.SLACK
    assert len(frame.data) <= max(1, size / 900 + 100)
    assert decoded(frame) == bytes(size)
    if size > 1:
        assert zstandard.ZstdDecompressor().decompress(frame.data, allow_extra_data=False) == bytes(size)


# --- codec 2


BITS = st.sampled_from(
    [0, 1, 0x7F800000, 0x7F800001, 0xFF800000, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x3F800000, 0x7C00, 0xFC01, 0x8000]
) | st.integers(0, 2**32 - 1)


@quick
@given(st.lists(st.tuples(BITS, BITS), min_size=1, max_size=80), st.sampled_from([2, 4]))
def test_differences_are_exact_for_every_bit_pattern(pairs, item):
    new, old = (np.array(column, "<u4").astype(f"<u{item}") for column in zip(*pairs))
    new, old = (np.concatenate([column, np.zeros(3000, column.dtype)]) for column in (new, old))
    frame = frames.encode_difference(new.tobytes(), item, old.tobytes())
    assert frame.codec == DIFFERENCE
    assert decoded(frame, old.tobytes()) == new.tobytes()


def test_every_half_against_every_neighbour():
    new = np.arange(65536, dtype="<u2")
    for shift in (0, 1, 0x7FFF, 0x8000, 0xFFFF):
        old = (new + np.uint16(shift)).astype("<u2")
        frame = frames.encode_difference(new.tobytes(), 2, old.tobytes())
        assert decoded(frame, old.tobytes()) == new.tobytes()


@pytest.mark.parametrize("item", [2, 4])
def test_differences_are_what_the_format_says(item):
    width = 8 * item
    old, new = weights_like(2000, 1), weights_like(2000, 1) * np.float32(1.001)
    if item == 2:
        old, new = old.astype("<f2"), new.astype("<f2")
    a, b = ([int(bits) for bits in array.view(f"<u{item}")] for array in (old, new))

    def monotone(bits):  # the definition by flips: -inf .. +inf in order of unsigned integers
        return bits ^ (2**width - 1) if bits >> (width - 1) else bits | 1 << (width - 1)

    zigzag = []
    for x, y in zip(a, b):
        difference = (monotone(y) - monotone(x)) % 2**width
        negative = difference >> (width - 1)
        zigzag.append((2 * (2**width - difference) - 1) if negative else 2 * difference)
    array = np.array(zigzag, f"<u{item}")
    planes = b"".join(array.tobytes()[k::item] for k in range(item))
    frame = frames.encode_difference(new.tobytes(), item, old.tobytes())
    assert zstandard.ZstdDecompressor().decompress(frame.data) == planes
    assert frames.decode(DIFFERENCE, item, compressed(planes), new.nbytes, old.tobytes()) == new.tobytes()


def test_a_fine_tuned_tensor_is_smaller_as_a_difference():
    base = weights_like(200_000, 1)
    tuned = base + weights_like(200_000, 2, 1e-5)
    frame = frames.encode_difference(tuned.tobytes(), 4, base.tobytes())
    assert len(frame.data) < 0.7 * len(frames.encode(tuned.tobytes(), 4).data)
    assert decoded(frame, base.tobytes()) == tuned.tobytes()
    same = frames.encode_difference(bytes(10**6), 4, bytes(10**6))
    assert len(same.data) * frames.MAX_RATIO + frames.SLACK >= 10**6


def test_no_difference_where_there_can_be_none():
    data = bytes(4096)
    assert frames.encode_difference(data, 4, bytes(4092)) is None
    assert frames.encode_difference(data, 1, data) is None
    assert frames.encode_difference(data, 8, data) is None
    assert frames.encode_difference(bytes(4097), 4, bytes(4097)) is None
    assert frames.encode_difference(b"", 4, b"") is None
    noise = np.random.default_rng(0)
    assert frames.encode_difference(noise.bytes(4096), 4, noise.bytes(4096)) is None


# --- codec 3


@st.composite
def cuts(draw):
    base_shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=5))
    shape = [draw(st.integers(1, n)) for n in base_shape]
    item = draw(st.sampled_from(ITEMS))
    return base_shape, shape, item, draw(st.integers(0, 2**32))


@quick
@given(cuts())
def test_leading_corners_are_found(case):
    base_shape, shape, item, seed = case
    base = np.frombuffer(np.random.default_rng(seed).bytes(int(np.prod(base_shape)) * item), f"<u{item}")
    base = base.reshape(base_shape)
    data = base[tuple(slice(n) for n in shape)].tobytes()
    payload = frames.find_slice(data, shape, item, base.tobytes(), base_shape)
    numbers = [*base_shape, *(0 for _ in shape), *shape]
    if item >= 4:  # smaller items may be found elsewhere as well
        assert payload == bytes([item, len(shape)]) + struct.pack(f"<{len(numbers)}I", *numbers)
    assert frames.decode(SLICE, item, payload, len(data), base.tobytes()) == data
    index = SliceIndex()
    index.add("base", base_shape, item, base.tobytes())
    assert index.candidates(data, shape, item) == [("base", tuple(base_shape))]


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_centre_crops_of_kernels_are_found(kernel):
    base = weights_like(40 * 6 * 49).reshape(40, 6, 7, 7)
    margin = (7 - kernel) // 2
    crop = base[:24, :3, margin : 7 - margin, margin : 7 - margin]
    payload = frames.find_slice(crop.tobytes(), crop.shape, 4, base.tobytes(), base.shape)
    assert frames.decode(SLICE, 4, payload, crop.nbytes, base.tobytes()) == crop.tobytes()
    assert struct.unpack_from("<4I", payload, 2 + 16) == (0, 0, margin, margin)
    index = SliceIndex()
    index.add(7, base.shape, 4, base.tobytes())
    assert index.candidates(crop.tobytes(), crop.shape, 4) == [(7, base.shape)]


def test_what_is_no_slice_is_seen():
    base = weights_like(64 * 64).reshape(64, 64)
    part = base[:32, :32].copy()
    arguments = 4, base.tobytes(), base.shape
    assert frames.find_slice(part.tobytes(), part.shape, *arguments)
    for place in ((0, 0), (31, 31), (7, 9)):
        wrong = part.copy()
        wrong[place] = np.nextafter(wrong[place], np.float32(1))
        assert frames.find_slice(wrong.tobytes(), part.shape, *arguments) is None
    assert frames.find_slice(part.tobytes(), (32, 32, 1), *arguments) is None
    assert frames.find_slice(part.tobytes(), (8, 128), *arguments) is None
    assert frames.find_slice(part.tobytes(), (32, 31), *arguments) is None
    assert frames.find_slice(part.tobytes(), (), *arguments) is None
    assert frames.find_slice(b"", (0, 32), *arguments) is None


def test_slices_are_compared_by_bits():
    base = np.array([[np.nan, -0.0], [0.0, 1.0]], "<f4")
    assert frames.find_slice(base[:, :1].tobytes(), (2, 1), 4, base.tobytes(), (2, 2))
    other = np.array([[np.nan], [-0.0]], "<f4")
    assert frames.find_slice(other.tobytes(), (2, 1), 4, base.tobytes(), (2, 2)) is None


def test_the_index_knows_no_names_and_hands_out_little():
    rng = np.random.default_rng(0)
    bases = [rng.standard_normal((48, 24, 3, 3)).astype("<f4") for _ in range(50)]
    index = SliceIndex()
    for number, base in enumerate(bases):
        index.add(number, base.shape, 4, base.tobytes())
        index.add("zeros", (1000,), 4, bytes(4000))
    for number in (0, 17, 49):
        part = bases[number][:16, :24]
        assert index.candidates(part.tobytes(), part.shape, 4) == [(number, (48, 24, 3, 3))]
    stranger = bases[0][:16].copy()
    stranger[3, 0, 0, 0] += 1
    assert index.candidates(stranger.tobytes(), stranger.shape, 4) == []
    larger = np.concatenate([bases[0], bases[0]], axis=1)
    assert index.candidates(larger.tobytes(), larger.shape, 4) == []
    assert len(index.candidates(bytes(400), (100,), 4)) == 1
    for number in range(300):
        index.add(number, (1000,), 4, bytes(4000))
    assert len(index.candidates(bytes(400), (100,), 4)) <= 256
    index.add("no shape", (), 4, bytes(4))
    index.add("wrong length", (3,), 4, bytes(4))
    assert index.candidates(bytes(4), (), 4) == []


# --- what must be refused


def refused(match, *arguments):
    with pytest.raises(ValueError, match=match) as caught:
        frames.decode(*arguments)
    assert type(caught.value) is ValueError
    assert "\n" not in str(caught.value)


GOOD = weights_like(5000).tobytes()
FRAME = frames.encode(GOOD, 4)


def test_arguments_that_do_not_go_together():
    refused("codec", 4, 1, b"", 0)
    refused("codec", -1, 1, b"", 0)
    refused("items", ZSTD, 3, FRAME.data, FRAME.length)
    refused("items", ZSTD, 0, FRAME.data, FRAME.length)
    refused("bytes", ZSTD, 4, FRAME.data, frames.MAX_FRAME + 1)
    refused("bytes", RAW, 1, b"", -1)
    refused("raw", RAW, 1, b"abc", 4)
    refused("raw", RAW, 4, b"abcd", 4)
    refused("with a base", RAW, 1, b"abcd", 4, b"abcd")
    refused("with a base", ZSTD, 4, FRAME.data, FRAME.length, GOOD)
    refused("without a base", DIFFERENCE, 4, FRAME.data, FRAME.length)
    refused("without a base", SLICE, 4, FRAME.data, FRAME.length)
    refused("fit", DIFFERENCE, 4, FRAME.data, FRAME.length, GOOD[:-4])
    refused("fit", DIFFERENCE, 8, FRAME.data, FRAME.length, GOOD)
    refused("fit", DIFFERENCE, 4, compressed(bytes(4001)), 4001, bytes(4001))


@pytest.mark.parametrize("change", [-4, -1, 1, 4])
def test_another_length_than_the_header_promises(change):
    refused("promise", ZSTD, 4, FRAME.data, FRAME.length + change)


def test_streams_that_are_not_one_whole_frame():
    data = FRAME.data
    length = FRAME.length
    for stop in (0, 3, 4, 5, 8, 12, len(data) // 2, len(data) - 1):
        refused("compressed frame", ZSTD, 4, data[:stop], length)
    for more in (b"\0", data, struct.pack("<II", 0x184D2A50, 4) + b"skip"):
        refused("compressed frame", ZSTD, 4, data + more, length)
    refused("not zstd", ZSTD, 4, struct.pack("<II", 0x184D2A50, 4) + b"skip" + data, length)
    refused("not zstd", ZSTD, 4, bytes(len(data)), length)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000))
    refused("promise", ZSTD, 1, unsized, 1000)
    refused("cannot hold", ZSTD, 1, compressed(b""), 0)
    dictionary = zstandard.ZstdCompressionDict(b"weights " * 100, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    assert dictionary.dict_id() == 0  # a raw one leaves no trace in the header, so that the bytes alone must fail
    refused("compressed frame", ZSTD, 1, compressed(b"weights " * 50, dict_data=dictionary), 400)
    named = b"\x28\xb5\x2f\xfd" + bytes([0b10100001, 7]) + struct.pack("<I", 9) + b"\x4b\0\0x"
    refused("cannot be read", ZSTD, 1, named, 9)


def test_a_header_that_lies_about_the_content():
    header = b"\x28\xb5\x2f\xfd" + bytes([0b10100000]) + struct.pack("<I", 50_000)  # single segment, 4 bytes of size
    refused("cannot be read", ZSTD, 1, header + bytes([1, 0, 0]), 50_000)  # one empty block
    block = struct.pack("<I", 60_000 << 3 | 0b011)[:3] + b"x"  # repeat one byte 60,000 times
    refused("cannot be read", ZSTD, 1, header + block, 50_000)
    assert frames.decode(ZSTD, 1, header + struct.pack("<I", 50_000 << 3 | 0b011)[:3] + b"x", 50_000) == b"x" * 50_000


def test_bombs_are_refused_before_anything_is_allocated():
    packed, base = compressed(bytes(20_000_000), level=3), bytes(20_000_000)
    tracemalloc.start()
    try:
        refused("cannot hold", ZSTD, 4, packed, len(base))
        refused("cannot hold", DIFFERENCE, 4, packed, len(base), base)
        refused("promise", ZSTD, 4, packed + bytes(100_000), len(base) - 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_windows_are_bounded():
    header = b"\x28\xb5\x2f\xfd" + bytes([0b10000000])  # no single segment, 4 bytes of size
    block = struct.pack("<I", 50_000 << 3 | 0b011)[:3] + b"x"  # the last block: one byte 50,000 times
    for exponent, allowed in ((13, True), (14, False), (21, False), (31, False)):
        stored = header + bytes([exponent << 3]) + struct.pack("<I", 50_000) + block
        if allowed:
            assert frames.decode(ZSTD, 1, stored, 50_000) == b"x" * 50_000
        else:
            refused("promise|cannot be read", ZSTD, 1, stored, 50_000)


def test_decoding_takes_no_more_than_twice_its_length():
    data = weights_like(1_000_000).tobytes()
    base = weights_like(1_000_000, 1).tobytes()
    shifted = (np.frombuffer(base, "<f4") * np.float32(1.0001)).tobytes()
    for frame, old in (
        (frames.encode(data, 4), None),
        (frames.encode(data, 1), None),
        (frames.encode_difference(shifted, 4, base), base),
    ):
        tracemalloc.start()
        decoded(frame, old)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2.3 * len(data)


BASE = np.arange(60, dtype="<u4")


def slice_payload(item=4, dims=(3, 4, 5), starts=(0, 0, 0), counts=(2, 3, 4), ndim=None):
    numbers = (*dims, *starts, *counts)
    return bytes([item, len(dims) if ndim is None else ndim]) + struct.pack(f"<{len(numbers)}I", *numbers)


def test_slices_that_reach_outside():
    good = slice_payload(starts=(1, 1, 1))
    assert frames.decode(SLICE, 4, good, 96, BASE.tobytes()) == BASE.reshape(3, 4, 5)[1:, 1:, 1:].tobytes()
    for bad, length in (
        (slice_payload(starts=(2, 1, 1)), 96),
        (slice_payload(counts=(2, 3, 6)), 144),
        (slice_payload(counts=(2, 3, 0)), 0),
        (slice_payload(starts=(2**32 - 1, 1, 1)), 96),
        (slice_payload(dims=(3, 4, 6)), 96),
        (slice_payload(dims=(2**31, 2**31, 0)), 96),
        (slice_payload(dims=(2**32 - 1,) * 3, counts=(2**32 - 1,) * 3), 96),
        (good, 92),
    ):
        refused("slice", SLICE, 4, bad, length, BASE.tobytes())
    refused("slice", SLICE, 4, good, 96, BASE.tobytes()[:-4])
    for damaged in (
        b"",
        b"\4",
        good[:-1],
        good + b"\0",
        slice_payload(ndim=0),
        slice_payload(ndim=2),
        slice_payload(8),
    ):
        refused("slice", SLICE, 4, damaged, 96, BASE.tobytes())
    many = slice_payload(dims=(1,) * 17, starts=(0,) * 17, counts=(1,) * 17)
    refused("slice", SLICE, 4, many, 4, BASE.tobytes()[:4])


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 3), st.sampled_from(ITEMS), st.data())
def test_damaged_frames_are_refused_or_decode_to_their_length(codec, item, data):
    base = GOOD[:4000]
    stored = {
        ZSTD: frames.encode(base, 4).data,
        DIFFERENCE: frames.encode_difference(base, 4, bytes(4000)).data,
        SLICE: slice_payload(item, dims=(4000 // item,), starts=(1,), counts=(400 // item,)),
    }[codec]
    length = 400 if codec == SLICE else 4000
    damaged = bytearray(stored)
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(stored) - 1), st.integers(0, 255)), max_size=4)
    ):
        damaged[place] = value
    try:
        got = frames.decode(codec, item, bytes(damaged), length, None if codec == ZSTD else base)
    except ValueError as error:
        assert type(error) is ValueError and "\n" not in str(error)
    else:
        assert len(got) == length


# --- splitting


def safetensors(tensors, metadata=None, pad=0):
    """Lay out ``{name: (dtype, shape, bytes)}`` in the order given."""
    header = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text + bytes(end)


def covers(weights, pieces):
    assert [piece.start for piece in pieces] == [0, *(piece.stop for piece in pieces[:-1])][: len(pieces)]
    assert (pieces[-1].stop if pieces else 0) == len(weights)
    assert all(piece.start < piece.stop and piece.item in ITEMS for piece in pieces)


def network(classes):
    return safetensors(
        {
            "blocks.0.bn.num_batches_tracked": ("I64", [], 8),
            "blocks.1.bn.num_batches_tracked": ("I64", [], 8),
            "blocks.0.bn.bias": ("F32", [32], 128),
            "blocks.0.bn.weight": ("F32", [32], 128),
            "blocks.0.conv.weight": ("F32", [32, 32, 3, 3], 36864),
            "blocks.0.empty": ("F32", [0, 3], 0),
            "classifier.bias": ("F32", [classes], 4 * classes),
            "classifier.weight": ("F32", [classes, 64], 256 * classes),
            "stem.bias": ("F32", [16], 64),
            "stem.weight": ("F16", [16, 3], 96),
        },
        {"format": "pt"},
    )


def test_headers_tensors_and_runs():
    weights = network(3)
    pieces = frames.split(weights)
    covers(weights, pieces)
    size = struct.unpack_from("<Q", weights)[0] + 8
    assert (pieces[0].start, pieces[0].stop, pieces[0].item, pieces[0].key) == (0, size, 1, "")
    assert [(piece.key, piece.item, piece.shape) for piece in pieces[1:]] == [
        ("blocks.0.bn.num_batches_tracked|I64|\nblocks.1.bn.num_batches_tracked|I64|", 8, None),
        ("blocks.0.bn.bias|F32|32\nblocks.0.bn.weight|F32|32", 4, None),
        ("blocks.0.conv.weight|F32|32x32x3x3", 4, (32, 32, 3, 3)),
        ("classifier.bias|F32|3\nclassifier.weight|F32|3x64", 4, None),
        ("stem.bias|F32|16", 4, (16,)),
        ("stem.weight|F16|16x3", 2, (16, 3)),
    ]


@pytest.mark.parametrize("classes", [1, 2, 17, 100, 1000])
def test_another_head_changes_no_other_piece(classes):
    def keys(weights):
        return {
            (piece.key, piece.stop - piece.start) for piece in frames.split(weights)[1:] if "classif" not in piece.key
        }

    assert keys(network(classes)) == keys(network(3))


def test_runs_end_at_64_kib():
    weights = safetensors({f"norm.{number:03}": ("F32", [1000], 4000) for number in range(100)})
    pieces = frames.split(weights)
    covers(weights, pieces)
    assert [piece.stop - piece.start for piece in pieces[1:]] == [64_000] * 6 + [16_000]


def test_large_tensors_are_cut(monkeypatch):
    monkeypatch.setattr(splitting, "MAX_FRAME", 1 << 16)
    weights = safetensors({"big": ("F64", [20_000], 160_000)})
    pieces = frames.split(weights)
    covers(weights, pieces)
    assert [(piece.stop - piece.start, piece.item, piece.shape) for piece in pieces[1:]] == [
        (65536, 8, None),
        (65536, 8, None),
        (28928, 8, None),
    ]
    assert len({piece.key for piece in pieces}) == 4


def test_every_dtype_of_safetensors_has_an_item():
    for dtype, bits in splitting.DTYPE_BITS.items():
        piece = frames.split(safetensors({"x": (dtype, [5], 5 * bits // 8)}))[1]
        assert piece.item == (4 if dtype == "C64" else bits // 8)
    unknown = frames.split(safetensors({"x": ("F4", [10], 5)}))
    assert (unknown[1].item, unknown[1].shape) == (1, None)


def test_a_real_file():
    save = pytest.importorskip("safetensors.numpy").save
    rng = np.random.default_rng(0)
    arrays = {f"layer.{n}.weight": rng.standard_normal((n + 1, 64, 3, 3)).astype("f4") for n in range(4)}
    weights = save(arrays, {"format": "pt"})
    pieces = frames.split(weights)
    covers(weights, pieces)
    for piece in pieces[2:]:
        array = np.frombuffer(weights[piece.start : piece.stop], "<f4").reshape(piece.shape)
        assert np.array_equal(array, arrays[piece.key.split("|")[0]])


def with_header(header, size=0, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(size)


def one(**changes):
    tensor = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | changes
    return {"x": {key: value for key, value in tensor.items() if value is not None}}


OPAQUE = {
    "nothing": b"",
    "short": b"\x02\0\0\0\0\0\0\0{",
    "no tensors": with_header({}),
    "no tensors, but bytes": with_header({}, 16),
    "header longer than the file": with_header({}, 16, 2**63),
    "no JSON": with_header(b"{]", 16),
    "no object": with_header([1, 2], 16),
    "no UTF-8": with_header(b'{"\xff": 1}', 16),
    "nesting": with_header(b"[" * 100_000, 16),
    "nested in an object": with_header(b'{"x":' * 100_000, 16),
    "huge number": with_header(b'{"x": ' + b"9" * 5000 + b"}", 16),
    "lone surrogate": with_header(b'{"\\ud800": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}', 16),
    "lone surrogate as dtype": with_header(one(dtype="\ud800"), 16),
    "tensor is a number": with_header({"x": 4}, 16),
    "no dtype": with_header(one(dtype=None), 16),
    "dtype is a list": with_header(one(dtype=[]), 16),
    "shape is a number": with_header(one(shape=4), 16),
    "shape is true": with_header(one(shape=[True, 4]), 16),
    "shape is negative": with_header(one(shape=[-2, -2]), 16),
    "shape is a float": with_header(one(shape=[4.0]), 16),
    "shape is huge": with_header(one(shape=[10**30, 0]), 16),
    "too many dimensions": with_header(one(shape=[1] * 17 + [4]), 16),
    "product is wrong": with_header(one(shape=[5]), 16),
    "three offsets": with_header(one(data_offsets=[0, 8, 16]), 16),
    "offsets fall": with_header(one(data_offsets=[16, 0]), 16),
    "gap before": with_header(one(data_offsets=[4, 20]), 20),
    "bytes after": with_header(one(), 17),
    "bytes missing": with_header(one(), 15),
    "overlap": with_header(one() | {"y": one()["x"]}, 16),
    "only an empty tensor": with_header(one(shape=[0], data_offsets=[0, 0])),
}


@pytest.mark.parametrize("weights", OPAQUE.values(), ids=OPAQUE)
def test_what_is_no_safetensors_is_taken_as_bytes(weights):
    pieces = frames.split(weights)
    covers(weights, pieces)
    assert all((piece.item, piece.key, piece.shape) == (1, "", None) for piece in pieces)
    assert len(pieces) == bool(weights)


def test_headers_are_bounded(monkeypatch):
    weights = network(3)
    monkeypatch.setattr(splitting, "MAX_HEADER", struct.unpack_from("<Q", weights)[0])
    assert len(frames.split(weights)) > 1
    monkeypatch.setattr(splitting, "MAX_HEADER", splitting.MAX_HEADER - 1)
    assert len(frames.split(weights)) == 1


def test_long_bytes_are_cut(monkeypatch):
    monkeypatch.setattr(splitting, "OPAQUE_PIECE", 1000)
    pieces = frames.split(bytes(2500))
    covers(bytes(2500), pieces)
    assert [piece.stop for piece in pieces] == [1000, 2000, 2500]


def test_time_and_pieces_are_bounded():
    def alternating(count):
        dtypes = ("I8", "U8")
        header = {n: {"dtype": dtypes[n % 2], "shape": [1], "data_offsets": [n, n + 1]} for n in range(count)}
        return with_header(header, count)

    started = time.perf_counter()
    assert len(frames.split(alternating(1000))) == 1001
    assert len(frames.split(alternating(splitting.MAX_PIECES))) == 1
    assert time.perf_counter() - started < 10


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_headers_never_raise(data):
    weights = bytearray(network(3))
    size = struct.unpack_from("<Q", weights)[0] + 8
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, size + 9), st.integers(0, 255)), max_size=3)):
        weights[place] = value
    covers(weights, frames.split(bytes(weights)))


@quick
@given(
    st.lists(st.tuples(st.sampled_from(["F32", "F16", "I64", "U8"]), st.integers(0, 3000)), max_size=30),
    st.integers(0, 9),
)
def test_any_layout_is_covered_and_comes_back(tensors, pad):
    layout = {}
    for number, (dtype, count) in enumerate(tensors):
        layout[f"{number % 3}.{number}"] = (dtype, [count], count * splitting.DTYPE_BITS[dtype] // 8)
    weights = safetensors(layout, pad=pad)
    pieces = frames.split(weights)
    covers(weights, pieces)
    stored = [frames.encode(weights[piece.start : piece.stop], piece.item) for piece in pieces]
    assert b"".join(map(decoded, stored)) == weights
    assert pieces == frames.split(weights)


def test_zstandard_is_loaded_only_when_needed():
    code = "import sys, nns.stores._frames; sys.exit('zstandard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
