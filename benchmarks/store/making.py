"""Zoo files as a stranger would make them: any content, and every checksum right.

:func:`write_zoo` writes any columns, :func:`edit` changes a file on the level of HDF5; both compute the checksums
of each column, the header and the seal anew, so that what is refused is refused for what it is and not for
being damaged. hostile.py makes the hostile files with it, mutations.py the zoo that it changes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xxhash

from nns.stores import HDF5Store, canonical_json, dataset_content_digest, network_content_digest
from nns.stores._codec import decode_entry
from nns.stores._digest import supernet_content_digest
from nns.stores.hdf5 import schema
from nns.testing._store import sample_dataset, sample_network, sample_space
from nns.types import (
    DatasetRecord,
    Fingerprint,
    LatencyRecord,
    NetworkRecord,
    SpaceRecord,
    SupernetRecord,
    TransferRecord,
)

ROWS = tuple(schema.TABLES)
"""Tables whose number of rows the header gives."""

Columns = dict[str, np.ndarray]
Edit = Callable[[h5py.File], object]

QUERY_DIM = 1280
"""Width of the query features that `nns search` computes."""


# -- a good zoo ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Good:
    """A small good zoo, as a file and as columns; whoever changes columns takes a copy."""

    path: Path

    @cached_property
    def whole(self) -> bytes:
        return self.path.read_bytes()

    @cached_property
    def about(self) -> dict[str, Any]:
        """The header but for the digests."""
        with h5py.File(self.path, "r") as file:
            header = json.loads(file[schema.HEADER][()].tobytes())
        return {key: value for key, value in header.items() if key not in ("columns", "sha256")}

    @cached_property
    def columns(self) -> Columns:
        found: Columns = {}

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and name not in (schema.HEADER, schema.SEAL):
                found[name] = item[()]

        with h5py.File(self.path, "r") as file:
            file.visititems(visit)
        return found

    @cached_property
    def weights(self) -> dict[str, bytes]:
        """Weights of networks and supernets by id."""
        with HDF5Store(self.path) as store:
            found = {name: store.weights(name) for name in store.ids()}
            return found | {entry.id: store.supernet_weights(entry.id) for entry in store.supernets()}

    def copy(self) -> tuple[Columns, dict[str, Any]]:
        """Return columns and header to be changed."""
        return {name: column.copy() for name, column in self.columns.items()}, json.loads(json.dumps(self.about))


def good_zoo(path: Path) -> Good:
    """Write a merged zoo that has a row in every table, and frames of every codec."""
    store = HDF5Store(path)
    for number in range(3):
        store.add_network(sample_network(number))
    for record in relatives():
        if isinstance(record, SupernetRecord):
            store.add_supernet(record)
        else:
            store.add_network(record)
    for name in ("birds", "fish"):
        store.add_dataset(sample_dataset(name))
    ids = store.ids()
    store.put_space(searchable_space(ids))
    store.put_space(sample_space("second"))
    store.put_latencies([LatencyRecord(ids[0], "cpu", 0.5), LatencyRecord(ids[1], "cpu", 0.25)])
    store.put_transfers([TransferRecord(ids[0], "fish", "digest-fish-0", 0.75, 3, {"lr": 0.01})])
    store.merge()
    store.close()
    return Good(path)


def relatives() -> list[NetworkRecord | SupernetRecord]:
    """Make a supernet and a subnet cut from it, a network and one that was fine-tuned from it."""
    from safetensors.numpy import save

    random = np.random.default_rng(0)
    large, other = (random.standard_normal((64, 96)).astype(np.float32) for _ in range(2))
    tuned = other + (1e-5 * random.standard_normal(other.shape)).astype(np.float32)
    zero = np.zeros(2000, np.float32)
    weights = [save({"zero": zero, "linear": linear}) for linear in (large, large[:48, :80].copy(), other, tuned)]
    supernet, subnet, network, fine = (sample_network(number) for number in range(10, 14))
    return [
        SupernetRecord(supernet.entry, weights[0]),
        _derived(subnet, supernet, weights[1]),
        replace(network, weights=weights[2]),
        _derived(fine, network, weights[3]),
    ]


def _derived(record: NetworkRecord, base: NetworkRecord, weights: bytes) -> NetworkRecord:
    provenance = replace(record.entry.provenance, base=base.entry.id)
    return replace(record, entry=replace(record.entry, provenance=provenance), weights=weights)


def searchable_space(ids: Sequence[str], name: str = "mixed", dim: int = 4, **changes: Any) -> SpaceRecord:
    """Make a space of the method ``tans`` with made-up numbers, in which `nns search` can search."""
    from safetensors.numpy import save

    random = np.random.default_rng(0)
    shapes = {
        "query_encoder.fc.weight": (dim, QUERY_DIM),
        "query_encoder.fc.bias": (dim,),
        "predictor.fc.weight": (1, 2 * dim),
        "predictor.fc.bias": (1,),
        "datasets": (2, dim),
    }
    tensors = {key: random.standard_normal(shape).astype(np.float32) for key, shape in shapes.items()}
    embeddings = random.standard_normal((len(ids), dim)).astype(np.float32)
    record = SpaceRecord(name, "tans", {"dim": dim}, save(tensors), tuple(ids), embeddings, {"seconds": 1.0})
    return replace(record, **changes)


# -- files with right checksums ------------------------------------------------------------------------------------


def sha256(data: bytes) -> bytes:
    """Digest bytes."""
    return hashlib.sha256(data).digest()


def checksum(data: bytes | memoryview) -> bytes:
    """Return the checksum of a column or a block."""
    return xxhash.xxh3_128_digest(data)


def header_bytes(about: dict[str, Any], columns: dict[str, str]) -> bytes:
    """Write a header that gives its own sha256."""
    value = {**about, "columns": columns}
    return canonical_json({**value, "sha256": hashlib.sha256(canonical_json(value)).hexdigest()})


def write_zoo(path: Path, columns: Columns, about: dict[str, Any], header: bytes | None = None) -> Path:
    """Write a file of these columns, its header (or ``header`` as it is) and its seal."""
    digests = {
        name: checksum(np.ascontiguousarray(column).tobytes()).hex()
        for name, column in columns.items()
        if name != schema.UNCHECKED
    }
    path.unlink(missing_ok=True)
    with h5py.File(path, "x", alignment_threshold=65536, alignment_interval=4096) as file:
        first = {
            schema.HEADER: np.frombuffer(header_bytes(about, digests) if header is None else header, "<u1"),
            schema.SEAL: np.zeros(32, "<u1"),
        }
        groups: dict[str, Any] = {"": file.id}
        for name, column in {**first, **columns}.items():
            group, _, leaf = name.rpartition("/")
            if group not in groups:
                groups[group] = file.require_group(group).id
            _create(groups[group], leaf.encode(), np.ascontiguousarray(column))
    seal(path)
    return path


def _create(group: Any, name: bytes, column: np.ndarray) -> None:
    """Write a column as h5py would, but for times, in a fifth of the time."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_obj_track_times(False)
    kind, space = h5py.h5t.py_create(column.dtype), h5py.h5s.create_simple(column.shape)
    dataset = h5py.h5d.create(group, name, kind, space, settings)
    if column.size:
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, column)


def edit(path: Path, good: Good, change: Edit, columns: Sequence[str] = ()) -> Path:
    """Copy the good zoo, change ``columns`` of the copy, or what is no column, and put its checksums right."""
    shutil.copyfile(good.path, path)
    with h5py.File(path, "r+") as file:
        change(file)
    reseal(path, columns)
    return path


def reseal(path: Path, columns: Sequence[str] = (), known: Mapping[str, str] | None = None, **about: Any) -> None:
    """Compute the checksums of ``columns``, the header and the seal anew, as far as the file still has them.

    Args:
        path: The file.
        columns: Columns that were changed.
        known: Digests of columns that were changed, and are large.
        about: Other values for the header.
    """
    with h5py.File(path, "r+") as file:
        header = _header(file)
        if header is not None:
            header |= about
            digests = header.pop("columns")
            digests |= {name: _digest(file, name) or digests[name] for name in columns if name in digests}
            digests |= known or {}
            header.pop("sha256")
            data = np.frombuffer(header_bytes(header, digests), "<u1")
            if data.shape == file[schema.HEADER].shape:
                file[schema.HEADER][...] = data
            else:
                del file[schema.HEADER]
                file[schema.HEADER] = data
    seal(path)


def _column(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Open a column, be it somewhere else; None if there is none, or if opening or reading it would block."""
    link = file.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink) and not Path(link.filename).is_file():
        return None
    try:
        found = file.get(name)
    except (OSError, RuntimeError):
        return None
    if not isinstance(found, h5py.Dataset) or found.nbytes > 1 << 24:
        return None
    return found if all(Path(part[0]).is_file() for part in found.external or ()) else None


def _header(file: h5py.File) -> Any:
    """Read the header; None if it is none any more."""
    try:
        return json.loads(_column(file, schema.HEADER)[()].tobytes())
    except Exception:  # noqa: BLE001 - whatever h5py finds wrong with a hostile column
        return None


def _digest(file: h5py.File, name: str) -> str | None:
    """Digest a column; None if it cannot be read."""
    try:
        return checksum(np.ascontiguousarray(_column(file, name)[()]).tobytes()).hex()
    except Exception:  # noqa: BLE001 - whatever h5py finds wrong with a hostile column
        return None


ZEROS = bytes(schema.SEAL_BLOCK)
EMPTY_BLOCK = checksum(ZEROS)


def seal(path: Path) -> None:
    """Write the seal: sha256 over the checksum of each block, the seal itself read as zeros."""
    with h5py.File(path, "r") as file:
        found = _column(file, schema.SEAL)
        at = found.id.get_offset() if found is not None and found.nbytes == 32 else None
    if at is None:
        return
    total = hashlib.sha256()
    with path.open("r+b") as raw:
        raw.seek(at)
        raw.write(bytes(32))
        raw.seek(0)
        while block := raw.read(schema.SEAL_BLOCK):
            total.update(EMPTY_BLOCK if block == ZEROS else checksum(block))
        raw.seek(at)
        raw.write(total.digest())


# -- content -------------------------------------------------------------------------------------------------------


def ragged(rows: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Join rows of bytes: the column, and its offsets."""
    return np.frombuffer(b"".join(rows), "<u1"), np.cumsum([0, *map(len, rows)]).astype("<u8")


def rows_of(columns: Columns, table: str) -> list[Any]:
    """Parse the JSON rows of a table."""
    return [json.loads(line) for line in columns[f"{table}/meta"].tobytes().splitlines()]


def set_meta(columns: Columns, table: str, rows: Sequence[Any]) -> None:
    """Write the JSON rows of a table, values or bytes, and where they are networks, their content digests."""
    lines = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    columns[f"{table}/meta"], columns[f"{table}/meta_offset"] = ragged([line + b"\n" for line in lines])
    if table == "networks":
        _agree(columns, lines)
    redigest(columns)


def _agree(columns: Columns, lines: Sequence[bytes]) -> None:
    """Write the columns of numbers that repeat the descriptions, as far as they have numbers."""
    for row, line in enumerate(lines):
        try:
            entry = json.loads(line)
            numbers = {**entry["cost"], "classes": len(entry["classes"]), "accuracy": entry["accuracy"]}
        except Exception:  # noqa: BLE001 - a description of any kind
            continue
        for name, value in numbers.items():
            if type(value) in (int, float):
                with suppress(OverflowError, KeyError):
                    column = columns[f"networks/{name}"].copy()  # it may be a view of bytes
                    column[row] = value
                    columns[f"networks/{name}"] = column


def redigest(columns: Columns) -> None:
    """Compute the content digests anew, of what can be described at all."""
    for table, digest in {
        "networks": _network_digest,
        "supernets": _supernet_digest,
        "datasets": _dataset_digest,
    }.items():
        for row, line in enumerate(columns[f"{table}/meta"].tobytes().splitlines()):
            with suppress(Exception):  # a description of any kind
                made = bytes.fromhex(digest(columns, row, json.loads(line)))
                columns[f"{table}/digest"][row] = np.frombuffer(made, "<u1")


def _network_digest(columns: Columns, row: int, value: Any) -> str:
    sha256 = columns["networks/weights_sha256"][row].tobytes().hex()
    return network_content_digest(decode_entry(value), fingerprint(columns, row), sha256)


def _supernet_digest(columns: Columns, row: int, value: Any) -> str:
    return supernet_content_digest(decode_entry(value), columns["supernets/weights_sha256"][row].tobytes().hex())


def _dataset_digest(columns: Columns, row: int, value: Any) -> str:
    features = _cell(columns, "datasets/features", row).reshape(-1, value["feature_dim"])
    labels = _cell(columns, "datasets/labels", row)
    classes = tuple(value["classes"])
    return dataset_content_digest(
        DatasetRecord(value["name"], value["digest"], classes, features, labels, value["images"], value["extractor"])
    )


def _cell(columns: Columns, name: str, row: int) -> np.ndarray:
    start, stop = columns[f"{name}_offset"][row : row + 2].tolist()
    return columns[name][start:stop]


def fingerprint(columns: Columns, row: int) -> Fingerprint:
    """Read one fingerprint out of columns."""
    fixed = {name: columns[f"networks/{name}"][row] for name in ("graph", "kernel", "surprise")}
    ragged = {name: _cell(columns, f"networks/{name}", row) for name in ("topology", "functional")}
    return Fingerprint(**fixed, **ragged)


RAW, ZSTD, DIFFERENCE, SLICE = range(4)


@dataclass(frozen=True)
class Frame:
    """One row of the table of frames: what it claims to be, and the bytes that are stored.

    Attributes:
        stored: The stored bytes.
        decoded: What they are to decode to; only its sha256 and length are written.
        codec: How they are stored.
        item: Bytes of one value.
        base: Row of the base frame.
        length: Decoded bytes, if not those of ``decoded``.
    """

    stored: bytes
    decoded: bytes = b""
    codec: int = RAW
    item: int = 1
    base: int = -1
    length: int | None = None


def raw(data: bytes) -> Frame:
    """Make an honest frame."""
    return Frame(data, data)


def set_frames(
    columns: Columns,
    about: dict[str, Any],
    good: Good,
    frames: Sequence[Frame],
    uses: Sequence[int],
    weights: bytes | None = None,
    length: int | None = None,
) -> None:
    """Return network 0 the weights ``weights``, kept as ``frames``; the others keep theirs, each in one raw frame.

    Args:
        columns: Columns, which are changed.
        about: Header, which is changed.
        good: Where the weights of the others are.
        frames: The first rows of the table of frames.
        uses: Rows that network 0 consists of.
        weights: What it is to decode to; None: the good zoo's.
        length: Its decoded bytes, if not those of ``weights``.
    """
    table = list(frames)
    for kind in ("networks", "supernets"):
        if f"{kind}/id" not in columns:
            continue
        ids = [name.decode() for name in columns[f"{kind}/id"].tolist()]
        refs: list[list[int]] = []
        for row, network_id in enumerate(ids):
            if kind == "networks" and row == 0:
                refs.append(list(uses))
                continue
            table.append(raw(good.weights[network_id]))
            refs.append([len(table) - 1])
        columns[f"{kind}/frames"] = np.array([ref for refs_of in refs for ref in refs_of], "<u8")
        columns[f"{kind}/frames_offset"] = np.cumsum([0, *map(len, refs)]).astype("<u8")
    mine = good.weights[columns["networks/id"][0].decode()] if weights is None else weights
    columns["networks/weights_length"][0] = len(mine) if length is None else length
    columns["networks/weights_sha256"][0] = np.frombuffer(sha256(mine), "<u1")
    redigest(columns)
    columns["frames/sha256"] = np.frombuffer(b"".join(sha256(f.decoded) for f in table), "<u1").reshape(-1, 32)
    columns["frames/length"] = np.array([len(f.decoded) if f.length is None else f.length for f in table], "<u8")
    columns["frames/codec"] = np.array([f.codec for f in table], "<u1")
    columns["frames/item"] = np.array([f.item for f in table], "<u1")
    columns["frames/base"] = np.array([f.base for f in table], "<i8")
    columns["frames/data"], columns["frames/data_offset"] = ragged([f.stored for f in table])
    about["frames"] = len(table)


# -- zstd by hand --------------------------------------------------------------------------------------------------

MAGIC = b"\x28\xb5\x2f\xfd"
BLOCK = 1 << 17
"""Largest block of zstd."""


def zstd(
    blocks: Sequence[tuple[int, bytes]],
    *,
    content: int | None = None,
    window: int = 17,
    single: bool = False,
    last: bool = True,
    descriptor: int = 0,
    after: bytes = b"",
) -> bytes:
    """Write one zstd frame block by block.

    Args:
        blocks: ``(times, byte)`` is a run of one byte repeated; ``(0, data)`` is stored as it is.
        content: Size that the frame header gives, true or not; None: it gives none.
        window: Logarithm of the window size.
        single: Whether the frame header says that the window is the content.
        last: Whether the last block is marked as such.
        descriptor: Other bits of the frame header descriptor.
        after: Bytes of the frame header between the window and the content size: a dictionary id.
    """
    flags = descriptor | (single << 5) | (0 if content is None else 3 << 6)
    head = MAGIC + bytes([flags]) + (b"" if single else bytes([(window - 10) << 3])) + after
    head += b"" if content is None else (content % (1 << 64)).to_bytes(8, "little")
    parts = [head]
    for at, (times, data) in enumerate(blocks):
        ended = last and at == len(blocks) - 1
        size = times or len(data)
        parts.append((size << 3 | (2 if times else 0) | ended).to_bytes(3, "little") + data)
    return b"".join(parts)


def zeros(size: int, **changes: Any) -> bytes:
    """Write zeros as tightly as zstd can: four bytes for 128 KiB."""
    whole, rest = divmod(size, BLOCK)
    blocks = [(BLOCK, b"\0")] * whole + ([(rest, b"\0")] if rest or not whole else [])
    if blocks == [(0, b"\0")]:
        blocks = [(0, b"")]
    return zstd(blocks, **changes)
