"""What the codecs of zoo frames save and cost, beside others that were not taken.

    OMP_NUM_THREADS=1 python benchmarks/store/codecs.py ZOO.h5 [--networks 3] [--markdown OUT.md] [--json OUT.json]

The networks of the zoo are cut into frames and every frame is encoded by itself, in one thread. Ratios are bytes
of the networks through bytes stored, speeds are bytes of the networks per second of processor time: encoding
once, decoding the best of three, each checked bit for bit. Differences are taken from the pretrained networks in
the zoo and from a sibling. Subnets are cut here from supernets with random weights, whose kernel transforms and
batch norms are moved as training would: what is a slice of what does not depend on the values. blosc2 is measured
where it is installed.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from nns.networks import device_key
from nns.stores import HDF5Store, _frames
from nns.stores._frames import Encoded, Piece
from nns.stores._frames import codecs as coding
from nns.stores._frames import pieces as splitting
from nns.types import NetworkEntry

Frame = tuple[bytes, Piece]
Encoder = Callable[[bytes, int], Encoded | bytes]
Decoder = Callable[[Any, int, int], bytes]

LEVELS = (-1, 1, 3, 9)
DEFAULT = "default: shuffle, plane by plane"


@dataclass(frozen=True)
class Row:
    """One line of the table; speeds in MB/s."""

    networks: str
    codec: str
    ratio: float
    encode: float
    decode: float
    note: str = ""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo")
    parser.add_argument("--networks", type=int, default=3, help="of each kind")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows: list[Row] = []
    with HDF5Store(args.zoo) as store:
        for row in measure(store, args.networks):
            rows.append(row)
            print(line(row), flush=True)
    machine = f"{device_key()}, Python {platform.python_version()}, zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}"
    if args.markdown:
        head = ["| networks | codec | ratio | encode MB/s | decode MB/s | |", "| --- | --- | --: | --: | --: | --- |"]
        args.markdown.write_text(
            "\n".join([f"{machine}, one thread", "", *head, *map(line, rows), ""]), encoding="utf-8"
        )
    if args.json:
        document = {"machine": machine, "rows": [asdict(row) for row in rows]}
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def line(row: Row) -> str:
    """Lay a row out as Markdown."""
    return f"| {row.networks} | {row.codec} | {row.ratio:.3f} | {row.encode:.0f} | {row.decode:.0f} | {row.note} |"


def measure(store: HDF5Store, networks: int) -> Iterator[Row]:
    """Yield the rows for all kinds of networks in the zoo, and for subnets."""
    groups: dict[str, list[NetworkEntry]] = defaultdict(list)
    pretrained: dict[str, NetworkEntry] = {}
    for entry in store.entries():
        if entry.provenance.extra.get("pretrained"):
            pretrained[entry.spec.name] = entry
        else:
            groups[f"{entry.spec.backend}, {entry.spec.source}"].append(entry)
    for kind, entries in sorted(groups.items()):
        chosen = [store.weights(entry.id) for entry in entries[:networks]]
        frames = [frame for weights in chosen for frame in cut(weights)]
        for name, encoder, decoder in codecs():
            yield timed(kind, name, frames, encoder, decoder)
        half = [(data.view("<f4").astype("<f2").tobytes(), piece) for data, piece in floats(frames)]
        row = timed(kind, "fp16 (lossy), default", [(data, with_item(piece, 2)) for data, piece in half], *full())
        yield Row(kind, row.codec, row.ratio * 2, row.encode * 2, row.decode * 2, "f32 tensors only")
    for _, entries in sorted(groups.items()):
        tuned = [entry for entry in entries if entry.spec.name in pretrained]
        for entry in tuned[:networks]:
            weights, base = store.weights(entry.id), store.weights(pretrained[entry.spec.name].id)
            yield difference(f"{entry.spec.name}, fine-tuned", "difference from pretrained", weights, base)
            sibling = next((e for e in tuned if e.spec.name == entry.spec.name and e.id != entry.id), None)
            if sibling:
                other = store.weights(sibling.id)
                yield difference(f"{entry.spec.name}, fine-tuned", "difference from sibling", weights, other)
    for width in (0.5, 1.0):
        yield slices(width)


def cut(weights: bytes) -> list[Frame]:
    """Cut weights into frames."""
    return [(weights[piece.start : piece.stop], piece) for piece in _frames.split(weights)]


def floats(frames: Sequence[Frame]) -> Iterator[tuple[np.ndarray[Any, Any], Piece]]:
    """Yield the frames of f32 as arrays of bytes."""
    for data, piece in frames:
        if "|F32|" in piece.key:
            yield np.frombuffer(data, np.uint8), piece


def with_item(piece: Piece, item: int) -> Piece:
    """Copy a piece with another item."""
    return Piece(piece.start, piece.stop, item, piece.key)


def full() -> tuple[Encoder, Decoder]:
    """The codec of a frame on its own, as the zoo has it."""
    return _frames.encode, lambda frame, item, length: _frames.decode(frame.codec, frame.item, frame.data, length)


def codecs() -> Iterator[tuple[str, Encoder, Decoder]]:
    """Yield names, encoders and decoders."""
    yield "raw", lambda data, item: data, lambda stored, item, length: bytearray(stored)
    reader = zstandard.ZstdDecompressor()
    for level in LEVELS:
        writer = zstandard.ZstdCompressor(level=level)
        yield (
            f"zstd {level}",
            lambda data, item, writer=writer: writer.compress(data),
            lambda stored, item, length: reader.decompress(stored),
        )
    for level in LEVELS:
        writer = zstandard.ZstdCompressor(level=level)

        def shuffled(data: bytes, item: int, writer: Any = writer) -> bytes:
            return writer.compress(b"".join(coding._shuffle(np.frombuffer(data, np.uint8), item)))

        def restored(stored: bytes, item: int, length: int) -> bytes:
            return coding._unshuffle(np.frombuffer(reader.decompress(stored), np.uint8), item).tobytes()

        yield f"zstd {level}, shuffle", shuffled, restored
    yield (DEFAULT, *full())
    yield from blosc()


def blosc() -> Iterator[tuple[str, Encoder, Decoder]]:
    """Yield the same for blosc2, if there is one."""
    try:
        import blosc2
    except ImportError:
        return
    blosc2.set_nthreads(1)
    choices = {"zstd": blosc2.Codec.ZSTD, "lz4": blosc2.Codec.LZ4}
    shuffles = {"shuffle": blosc2.Filter.SHUFFLE, "bit shuffle": blosc2.Filter.BITSHUFFLE}
    for codec, shuffle in (("zstd", "shuffle"), ("zstd", "bit shuffle"), ("lz4", "bit shuffle")):
        for level in (1, 5):
            settings = {
                "codec": choices[codec],
                "clevel": level,
                "filters": [shuffles[shuffle]],
                "filters_meta": [0],
                "nthreads": 1,
            }

            def packed(data: bytes, item: int, settings: dict[str, Any] = settings) -> bytes:
                return blosc2.compress2(data, typesize=item, **settings)

            yield f"blosc2 {codec} {level}, {shuffle}", packed, lambda data, item, length: blosc2.decompress2(data)


def timed(networks: str, name: str, frames: Sequence[Frame], encoder: Encoder, decoder: Decoder) -> Row:
    """Encode all frames, decode them, and compare."""
    size = sum(len(data) for data, _ in frames)
    started = time.process_time()
    stored = [encoder(data, piece.item) for data, piece in frames]
    encoding = time.process_time() - started
    decoding, decoded = best(
        lambda: [decoder(s, piece.item, len(data)) for s, (data, piece) in zip(stored, frames, strict=True)]
    )
    assert all(data == again for (data, _), again in zip(frames, decoded, strict=True)), name
    kept = sum(len(s.data) if isinstance(s, Encoded) else len(s) for s in stored)
    return Row(networks, name, size / kept, size / encoding / 1e6, size / decoding / 1e6)


def best(function: Callable[[], Any], runs: int = 3) -> tuple[float, Any]:
    """Seconds of the fastest run, and its result."""
    seconds, result = float("inf"), None
    for _ in range(runs):
        started = time.process_time()
        result = function()
        seconds = min(seconds, time.process_time() - started)
    return seconds, result


def difference(networks: str, name: str, weights: bytes, base: bytes) -> Row:
    """Store each frame as its difference from the frame of the same key, where that is smaller."""
    bases = {piece.key: data for data, piece in cut(base) if piece.key}
    frames = cut(weights)
    alone = sum(len(_frames.encode(data, piece.item).data) for data, piece in frames)
    encoding, stored = best(
        lambda: [_frames.encode_difference(data, piece.item, bases.get(piece.key, b"")) for data, piece in frames], 1
    )
    pairs = [
        (frame or _frames.encode(data, piece.item), data, piece)
        for frame, (data, piece) in zip(stored, frames, strict=True)
    ]
    kept = sum(min(len(frame.data), len(_frames.encode(data, piece.item).data)) for frame, data, piece in pairs)
    done = [(frame, data, bases[piece.key]) for frame, data, piece in pairs if frame.codec == _frames.DIFFERENCE]
    decoding, decoded = best(lambda: [_frames.decode(f.codec, f.item, f.data, f.length, b) for f, _, b in done])
    assert decoded == [data for _, data, _ in done]
    size = sum(len(data) for _, data, _ in done)
    note = f"{len(weights) / alone:.3f} without; decode has the base"
    return Row(networks, name, len(weights) / kept, size / encoding / 1e6, size / decoding / 1e6, note)


def slices(width: float) -> Row:
    """Store four subnets beside their supernet, tensors as slices where they are."""
    weights, subnets = supernet_and_subnets(width)
    started = time.process_time()
    index: _frames.SliceIndex[int] = _frames.SliceIndex()
    bases = cut(weights)
    for number, (data, piece) in enumerate(bases):
        if piece.shape is not None and len(data) >= splitting.SMALL_TENSOR:
            index.add(number, piece.shape, piece.item, data)
    indexing = time.process_time() - started
    done, alone, kept, tried = [], 0, 0, 0
    seconds = indexing
    for data, piece in (frame for subnet in subnets for frame in cut(subnet)):
        encoded = len(_frames.encode(data, piece.item).data)
        alone += encoded
        started = time.process_time()
        payload = None
        for number, shape in index.candidates(data, piece.shape or (), piece.item):
            tried += 1
            payload = _frames.find_slice(data, piece.shape or (), piece.item, bases[number][0], shape)
            if payload:
                done.append((payload, data, piece.item, bases[number][0]))
                break
        seconds += time.process_time() - started
        kept += len(payload) if payload else encoded
    size = sum(map(len, subnets))
    decoding, decoded = best(lambda: [_frames.decode(_frames.SLICE, i, p, len(d), b) for p, d, i, b in done])
    assert decoded == [data for _, data, _, _ in done]
    sliced = sum(len(data) for _, data, _, _ in done)
    note = f"{size / alone:.3f} without; {len(done)} slices of {tried} tried are {sliced / size:.1%} of the bytes"
    return Row(
        f"ofa w{width:g}, 4 subnets",
        "slices of supernet",
        size / kept,
        size / seconds / 1e6,
        sliced / decoding / 1e6,
        note,
    )


def supernet_and_subnets(width: float) -> tuple[bytes, list[bytes]]:
    """Build a supernet and cut four subnets, all in safetensors."""
    import torch
    from safetensors.torch import save

    from nns.backends.ofa.space import BLOCKS, DEPTHS, EXPAND_RATIOS, KERNEL_SIZES, STAGES
    from nns.backends.ofa.supernet import build_supernet

    def state(module: Any) -> bytes:
        return save({name: tensor.contiguous() for name, tensor in module.state_dict().items()})

    def move(tensors: Iterator[tuple[str, Any]], part: str) -> None:
        for name, tensor in tensors:
            if part in name:
                tensor.add_(0.01 * torch.randn_like(tensor))

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    supernet = build_supernet(width, 10, seed=0)
    subnets = []
    with torch.no_grad():
        move(supernet.named_parameters(), "_matrix")
        for _ in range(4):
            supernet.set_active_subnet(
                ks=rng.choice(KERNEL_SIZES, BLOCKS).tolist(),
                e=rng.choice(EXPAND_RATIOS, BLOCKS).tolist(),
                d=rng.choice(DEPTHS, STAGES).tolist(),
            )
            subnet = supernet.get_active_subnet(preserve_weight=True)
            move(subnet.named_buffers(), "running_")
            subnets.append(state(subnet))
    return state(supernet), subnets


if __name__ == "__main__":
    main()
