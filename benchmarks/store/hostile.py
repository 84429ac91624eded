"""Zoo files of people who mean harm, and what nns makes of them.

    python benchmarks/store/hostile.py OUT_DIR            write them
    python benchmarks/store/hostile.py OUT_DIR --check    and read each in processes of its own, under strace

Each file has right checksums unless it is meant to be damaged, and each is named after what is wrong with it.
The check runs ``nns zoo verify``, ``ls``, ``info``, ``show``, ``nns space show`` and a script that reads everything,
with a limit on the address space and on the time, and prints how each ended, how long it took, the most memory it
held and what it said. No process may open a file that is not opened for a good zoo too, but the zoo itself.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import Queue
from typing import Any

import h5py
import numpy as np
import xxhash

if __package__ in {None, ""}:  # run as a script: make this folder the package `store`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from nns.stores import HDF5Store, canonical_json
from nns.stores.hdf5 import schema
from nns.zoo import Zoo
from store import making
from store.making import Frame

REFUSED = "refused"
"""Opening it, or the first thing read from it, is an error: every command exits with 4."""
FOUND = "found"
"""It may be listed; reading what is wrong with it is an error, and ``nns zoo verify`` exits with 4."""
VERIFIED = "verified"
"""It may be read; ``nns zoo verify`` finds what is wrong with it and exits with 4."""
SHOWN = "shown"
"""It is a proper zoo with names that mean harm: commands succeed, and what reaches the terminal is harmless."""
EITHER = "either"
"""It may be refused or not; nothing else may happen."""
IGNORED = "ignored"
"""What is wrong with it is nothing that a reader looks at: the answers are those of the good zoo."""


@dataclass(frozen=True)
class Case:
    """One hostile file: ``make(path, good)`` writes it, and may give another path to read instead."""

    name: str
    expect: str
    make: Callable[[Path, Any], Path | None]


CASES: dict[str, Case] = {}


def _add(name: str, expect: str, make: Callable[[Path, Any], Any]) -> None:
    def written(path: Path, good: Any) -> Path:
        made = make(path, good)
        return made if isinstance(made, Path) else path

    assert name not in CASES, name
    CASES[name] = Case(name, expect, written)


def canary(path: Path) -> Path:
    """Make the folder of things that no reader may touch: a file, a zoo, and a FIFO that blocks who opens it."""
    folder = path.parent / "canary"
    if not folder.is_dir():
        folder.mkdir()
        (folder / "secret").write_bytes(bytes(range(256)) * 16)
        with h5py.File(folder / "other.h5", "w") as file:
            file["x"] = np.zeros((6, 32), "u1")
        os.mkfifo(folder / "fifo")
    return folder


# -- what HDF5 can do, in place of a column ------------------------------------------------------------------------

VICTIM = "networks/digest"
Swap = Callable[[Any, str, np.ndarray, Path], object]
"""``swap(file, name, old, canary)`` makes something else under the name of a column."""


def replacing(name: str, swap: Swap) -> Callable[[Path, Any], Any]:
    """Return a maker of files in which ``swap`` takes the place of a column."""

    def make(path: Path, good: Any) -> Any:
        folder = canary(path)

        def change(file: h5py.File) -> None:
            old = file[name][()]
            del file[name]
            swap(file, name, old, folder)

        return making.edit(path, good, change, [name])

    return make


def _low_level(
    file: h5py.File, name: str, shape: tuple[int, ...], set_up: Callable[[Any], object], kind: Any = None
) -> Any:
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    set_up(settings)
    space = h5py.h5s.create_simple(shape)
    return h5py.h5d.create(file.id, name.encode(), kind or h5py.h5t.STD_U8LE, space, settings)


def _virtual(file: h5py.File, name: str, old: np.ndarray, folder: Path) -> None:
    layout = h5py.VirtualLayout(old.shape, old.dtype)
    layout[:] = h5py.VirtualSource(folder / "other.h5", "x", old.shape)
    file.create_virtual_dataset(name, layout)


def _external(file: h5py.File, name: str, old: np.ndarray, folder: Path) -> None:
    """The very bytes of the column, but in another file."""
    secret = folder / f"secret-{name.replace('/', '-')}"
    secret.write_bytes(old.tobytes())
    file.create_dataset(name, old.shape, old.dtype, external=[(str(secret), 0, max(old.nbytes, 1))])


def _external_fifo(file: h5py.File, name: str, old: np.ndarray, folder: Path) -> None:
    file.create_dataset(name, old.shape, old.dtype, external=[(str(folder / "fifo"), 0, max(old.nbytes, 1))])


@cache
def _gzipped(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def _gzip_bomb(file: h5py.File, name: str, old: np.ndarray, folder: Path) -> None:
    """One chunk of 64 KB that inflates to 64 MiB."""

    def set_up(settings: Any) -> None:
        settings.set_chunk(old.shape)
        settings.set_deflate(9)

    dataset = _low_level(file, name, old.shape, set_up)
    dataset.write_direct_chunk((0,) * old.ndim, _gzipped(64 << 20))


def _gzip_twice(file: h5py.File, name: str, old: np.ndarray, folder: Path) -> None:
    """One chunk of 500 bytes that inflates to one that inflates to 64 MiB."""

    def set_up(settings: Any) -> None:
        settings.set_chunk(old.shape)
        settings.set_deflate(9)
        settings.set_deflate(9)

    dataset = _low_level(file, name, old.shape, set_up)
    dataset.write_direct_chunk((0,) * old.ndim, zlib.compress(_gzipped(64 << 20), 9))


def _unknown_filter(file: h5py.File, name: str, old: np.ndarray, folder: Path) -> None:
    def set_up(settings: Any) -> None:
        settings.set_chunk(old.shape)
        settings.set_filter(32_123, h5py.h5z.FLAG_OPTIONAL, (1, 2, 3))

    dataset = _low_level(file, name, old.shape, set_up)
    dataset.write_direct_chunk((0,) * old.ndim, old.tobytes())


def _opaque(tag: bytes) -> Swap:
    def swap(file: h5py.File, name: str, old: np.ndarray, folder: Path) -> None:
        kind = h5py.h5t.create(h5py.h5t.OPAQUE, 1)
        kind.set_tag(tag)
        _low_level(file, name, old.shape, lambda settings: None, kind)

    return swap


def _committed(file: h5py.File, name: str, old: np.ndarray, folder: Path) -> None:
    file["type"] = old.dtype
    file.create_dataset(name, data=old, dtype=file["type"])


def _compact(file: h5py.File, name: str, old: np.ndarray, folder: Path) -> None:
    dataset = _low_level(file, name, old.shape, lambda settings: settings.set_layout(h5py.h5d.COMPACT))
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(old))


def _huge_fill(file: h5py.File, name: str, old: np.ndarray, folder: Path) -> None:
    file.create_dataset(name, (3 << 30,), "u1", fillvalue=7)


def _vlen_alias(file: h5py.File, name: str, old: np.ndarray, folder: Path) -> None:
    """A thousand rows of variable length that all lie on one piece of the heap."""
    dataset = file.create_dataset(name, (1000,), h5py.vlen_dtype(np.uint8))
    dataset[0] = np.zeros(1 << 16, np.uint8)


SWAPS: dict[str, Swap] = {
    "external storage": _external,
    "external storage in a FIFO": _external_fifo,
    "external link": lambda f, n, old, c: f.__setitem__(n, h5py.ExternalLink(str(c / "other.h5"), "/x")),
    "external link to a FIFO": lambda f, n, old, c: f.__setitem__(n, h5py.ExternalLink(str(c / "fifo"), "/x")),
    "external link to nothing": lambda f, n, old, c: f.__setitem__(n, h5py.ExternalLink("../../none.h5", "/x")),
    "soft link": lambda f, n, old, c: f.__setitem__(n, h5py.SoftLink("/networks/weights_sha256")),
    "soft link to itself": lambda f, n, old, c: f.__setitem__(n, h5py.SoftLink(f"/{n}")),
    "soft link to nowhere": lambda f, n, old, c: f.__setitem__(n, h5py.SoftLink("/nowhere")),
    "second name": lambda f, n, old, c: f.__setitem__(n, f["supernets/digest"]),
    "second name of the root": lambda f, n, old, c: f.__setitem__(n, f["/"]),
    "virtual": _virtual,
    "chunks": lambda f, n, old, c: f.create_dataset(n, data=old, chunks=old.shape),
    "resizable": lambda f, n, old, c: f.create_dataset(n, data=old, maxshape=(None,) * old.ndim),
    "gzip": lambda f, n, old, c: f.create_dataset(n, data=old, chunks=old.shape, compression="gzip"),
    "checksum filter": lambda f, n, old, c: f.create_dataset(n, data=old, chunks=old.shape, fletcher32=True),
    "gzip bomb": _gzip_bomb,
    "gzip bomb in a gzip bomb": _gzip_twice,
    "unknown filter": _unknown_filter,
    "compact": _compact,
    "vlen": lambda f, n, old, c: f.create_dataset(n, old.shape, h5py.vlen_dtype(np.uint8)),
    "vlen that share a heap": _vlen_alias,
    "vlen strings": lambda f, n, old, c: f.create_dataset(n, data=["a"] * len(old), dtype=h5py.string_dtype()),
    "fixed strings": lambda f, n, old, c: f.create_dataset(n, old.shape, "S1"),
    "compound": lambda f, n, old, c: f.create_dataset(n, old.shape[:1], [("a", "u1", 32)]),
    "array type": lambda f, n, old, c: f.create_dataset(n, old.shape[:1], "(32,)u1"),
    "opaque": _opaque(b"bytes"),
    "opaque that numpy takes for objects": _opaque(b"NUMPY:O"),
    "opaque that numpy takes for a gigabyte": _opaque(b"NUMPY:V1000000000"),
    "object reference": lambda f, n, old, c: f.create_dataset(n, old.shape, h5py.ref_dtype),
    "region reference": lambda f, n, old, c: f.create_dataset(n, old.shape, h5py.regionref_dtype),
    "enumeration": lambda f, n, old, c: f.create_dataset(n, old.shape, h5py.enum_dtype({"a": 1}, "u1")),
    "boolean": lambda f, n, old, c: f.create_dataset(n, old.shape, bool),
    "bit field": lambda f, n, old, c: _low_level(f, n, old.shape, lambda settings: None, h5py.h5t.STD_B8LE),
    "time": lambda f, n, old, c: _low_level(f, n, old.shape, lambda settings: None, h5py.h5t.UNIX_D32LE),
    "a type in place of a column": lambda f, n, old, c: f.__setitem__(n, np.dtype("u1")),
    "signed": lambda f, n, old, c: f.create_dataset(n, data=old.astype("i1")),
    "wider": lambda f, n, old, c: f.create_dataset(n, data=old.astype("u2")),
    "big-endian": lambda f, n, old, c: f.create_dataset(n, data=old.astype(">u4")),
    "floats": lambda f, n, old, c: f.create_dataset(n, data=np.zeros(old.shape, "f4")),
    "complex": lambda f, n, old, c: f.create_dataset(n, data=np.zeros(old.shape, "c8")),
    "fewer rows": lambda f, n, old, c: f.create_dataset(n, data=old[:-1]),
    "more rows": lambda f, n, old, c: f.create_dataset(n, data=np.concatenate([old, old])),
    "one axis more": lambda f, n, old, c: f.create_dataset(n, data=old[None]),
    "scalar": lambda f, n, old, c: f.create_dataset(n, data=np.uint8(1)),
    "no extent": lambda f, n, old, c: f.create_dataset(n, data=h5py.Empty("u1")),
    "32 axes": lambda f, n, old, c: f.create_dataset(n, (1,) * 32, "u1"),
    "huge shape": lambda f, n, old, c: f.create_dataset(n, (1 << 42,), "u1"),
    "huge fill value": _huge_fill,
    "not allocated": lambda f, n, old, c: f.create_dataset(n, old.shape, old.dtype),
    "a group in place of a column": lambda f, n, old, c: f.create_group(n),
    "missing": lambda f, n, old, c: None,
}

for _name, _swap in SWAPS.items():
    _add(f"column: {_name}", REFUSED, replacing(VICTIM, _swap))
_add("column: committed type", IGNORED, replacing(VICTIM, _committed))

for _what in ("format", "seal"):
    for _name in (
        "external storage",
        "external link to a FIFO",
        "soft link to itself",
        "gzip bomb",
        "missing",
        "chunks",
    ):
        _add(f"{_what}: {_name}", REFUSED, replacing(_what, SWAPS[_name]))


def _edited(name: str, expect: str, change: Callable[[Any, Path], object]) -> None:
    def make(path: Path, good: Any) -> Any:
        folder = canary(path)
        return making.edit(path, good, lambda file: change(file, folder))

    _add(name, expect, make)


def _elsewhere(file: h5py.File, group: str, link: object) -> None:
    file.move(group, "hidden")
    file[group] = link


def _attribute(name: str, value: object) -> Callable[[Any, Path], None]:
    return lambda file, folder: file[name].attrs.__setitem__("x", value)


_edited("group: soft link", REFUSED, lambda file, folder: _elsewhere(file, "networks", h5py.SoftLink("/hidden")))
_edited(
    "group: external link",
    REFUSED,
    lambda file, folder: _elsewhere(file, "networks", h5py.ExternalLink(str(folder / "other.h5"), "/")),
)
_edited("group: the root again", REFUSED, lambda file, folder: _elsewhere(file, "spaces", file["/"]))
_edited("group: a column", REFUSED, lambda file, folder: _elsewhere(file, "networks", file[VICTIM]))
_edited("group: two names", REFUSED, lambda file, folder: file.__setitem__("again", file["networks"]))
_edited("group: spaces is a link", REFUSED, lambda file, folder: _elsewhere(file, "spaces", h5py.SoftLink("/hidden")))
for _where in ("/", "networks", VICTIM, "format", "seal", "spaces", "spaces/mixed", "frames/data"):
    _edited(f"attribute on {_where}", REFUSED, _attribute(_where, "text of any length"))
_edited("attribute of a pickled object", REFUSED, _attribute("networks", np.void(b"cos\nsystem\n(S'true'\ntR.")))


def _stowaways(file: h5py.File, folder: Path) -> None:
    file["../../x"] = [1]
    file["extra/link"] = h5py.ExternalLink(str(folder / "fifo"), "/x")
    file["extra/loop"] = file["extra"]
    file["networks/extra"] = h5py.SoftLink("/networks/extra")
    file["extra/\x1b[31m"] = np.void(b"cos\nsystem\n(S'true'\ntR.")
    file.create_dataset("extra/huge", (1 << 40,), "u1")


_edited("stowaways that nobody looks at", IGNORED, _stowaways)


# -- the header ----------------------------------------------------------------------------------------------------


def _header(name: str, expect: str = REFUSED, **changes: Any) -> None:
    def make(path: Path, good: Any) -> None:
        columns, about = good.copy()
        making.write_zoo(path, columns, about | changes)

    _add(f"header: {name}", expect, make)


def _written(name: str, change: Callable[[dict[str, Any]], Any], expect: str = REFUSED) -> None:
    """The whole header as bytes, or as a value that is digested anew; ``change`` may also alter it in place."""

    def make(path: Path, good: Any) -> None:
        columns, about = good.copy()
        digests = {
            key: making.checksum(np.ascontiguousarray(column).tobytes()).hex()
            for key, column in columns.items()
            if key != schema.UNCHECKED
        }
        value = {**about, "columns": digests}
        made = change(value)
        if not isinstance(made, bytes):
            about = {key: item for key, item in value.items() if key != "columns"}
            made = making.header_bytes(about, value["columns"])
        making.write_zoo(path, columns, about, made)

    _add(f"header: {name}", expect, make)


_NEWER = schema.FORMAT_VERSION + 1
_header("a newer version", version=_NEWER)
for _name, _value in {
    "version 0": 0,
    "an older version": 1,
    "version of 20 digits": 10**19,
    "version as text": "2",
    "version as a float": 2.0,
    "version as a truth": True,
}.items():
    _header(_name, version=_value)
_header("another format", format="other")
for _name, _value in {
    "one network too few": 6 - 1,
    "one network too many": 6 + 1,
    "2**40 networks": 2**40,
    "2**64 networks": 2**64,
    "-1 networks": -1,
    "networks as a truth": True,
    "networks as a float": 6.0,
    "networks as null": None,
}.items():
    _header(_name, networks=_value)
for _table in ("supernets", "frames", "datasets", "transfers", "latencies"):
    _header(f"2**31 rows of {_table}", **{_table: 2**31})
_header("no frames", frames=0)
for _name, _value in {
    "a space that is missing": ["mixed", "missing", "second"],
    "a space twice": ["mixed", "mixed"],
    "a space outside": ["../networks"],
    "a space at the root": ["/networks"],
    "a space named dot": ["."],
    "a space with an escape": ["\x1b[31m"],
    "a space without a name": [""],
    "spaces as text": "mixed",
    "spaces as numbers": [1],
    "spaces as null": None,
}.items():
    _header(_name, spaces=_value)
for _name, _value in {
    "merged as null": None,
    "merged as numbers": [1],
}.items():
    _header(_name, merged=_value)
for _name, _value in {
    "merged outside": ["../../secret"],
    "merged lists a network that is not there": ["network-0000000000000063.h5"],
    "merged with an escape": ["\x1b[31m"],
}.items():
    _header(_name, EITHER, merged=_value)


def _without(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda value: value.pop(key) and None


for _key in ("version", "networks", "frames", "spaces", "merged"):
    _written(f"the key {_key} is missing", _without(_key))
_written("a column that has no checksum", lambda value: value["columns"].pop(VICTIM) and None)
_written("a checksum of no column", lambda value: value["columns"].update({"../x": "00" * 16}))
_written("a checksum that is short", lambda value: value["columns"].update({VICTIM: "00"}))
_written("a checksum that is no hex", lambda value: value["columns"].update({VICTIM: "zz" * 16}))
_written("a checksum that is a number", lambda value: value["columns"].update({VICTIM: 1}))
_written("a checksum that is another", lambda value: value["columns"].update({VICTIM: "00" * 16}), FOUND)
_written("columns as a list", lambda value: value.update(columns=[]))
_written("not its own sha256", lambda value: json.dumps({**value, "sha256": "00" * 32}).encode())
_written("no sha256", lambda value: json.dumps(value).encode())
_written("no JSON", lambda value: b"hello")
_written("nothing", lambda value: b"")
_written("a list", lambda value: b"[]")
_written("no UTF-8", lambda value: b'{"format":"\xff"}')
_written("nested 100,000 deep", lambda value: b"[" * 100_000)
_written("an object nested 50,000 deep", lambda value: b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
_written("a number of a million digits", lambda value: b'{"format":"nns-zoo","version":' + b"9" * 1_000_000 + b"}")
_written("not a number", lambda value: b'{"format":"nns-zoo","version":NaN}')
_written("one byte too long", lambda value: b" " * ((16 << 20) + 1))
_written(
    "as long as may be", lambda value: b'{"format":"nns-zoo","merged":[' + b"[]," * ((16 << 20) // 3 - 20) + b"1]}"
)


# -- content: ids, descriptions, numbers ---------------------------------------------------------------------------


def _content(name: str, expect: str, change: Callable[[Any, dict[str, Any], Any], object]) -> None:
    def make(path: Path, good: Any) -> None:
        columns, about = good.copy()
        change(columns, about, good)
        making.write_zoo(path, columns, about)

    _add(name, expect, make)


def _put(columns: Any, name: str, row: Any, value: Any) -> None:
    columns[name][row] = value


def _with(name: str, row: Any, value: Any) -> Callable[[Any, dict[str, Any], Any], None]:
    return lambda columns, about, good: _put(columns, name, row, value)


for _name, _value in {
    "outside": b"../../../etc/passwd",
    "absolute": b"/etc/passwd",
    "empty": b"",
    "twice": b"0000000000000001",
    "no text": b"\xff\xfe",
    "escape": b"\x1b[31m",
    "space": b"a b",
    "newline": b"a\nb",
    "zero byte": b"a\0b",
    "dots": b"..",
}.items():
    _content(f"id: {_name}", REFUSED, _with("networks/id", 0, _value))
_content("id of a supernet: outside", FOUND, _with("supernets/id", 0, b"../../x"))
_content("id in a space: outside", FOUND, _with("spaces/mixed/ids", 0, b"../../x"))
_content("id of a latency: outside", FOUND, _with("latencies/network", 0, b"../../x"))


def _meta(change: Callable[[list[Any]], object], table: str = "networks") -> Callable[[Any, dict[str, Any], Any], None]:
    def apply(columns: Any, about: dict[str, Any], good: Any) -> None:
        rows = making.rows_of(columns, table)
        made = change(rows)
        making.set_meta(columns, table, made if isinstance(made, list) else rows)

    return apply


def _first(row: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda rows: [row, *rows[1:]]


def nested(depth: int) -> Any:
    """Make a list in a list, ``depth`` deep."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


for _name, _row in {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "null": b"null",
    "two objects": b"{},{}",
    "two rows": b"{}\n{}",
    "nested 100,000 deep": b"[" * 100_000,
    "no UTF-8": b'{"id":"\xff"}',
    "5,000 digits": b"9" * 5000,
    "half a surrogate": b'{"id":"\\ud800"}',
    "more than 1 MiB": b'{"id":"' + b"x" * (1 << 20) + b'"}',
}.items():
    _content(f"description: {_name}", FOUND, _meta(_first(_row)))


def _deep(path: tuple[str, ...], value: Any) -> Callable[[list[Any]], None]:
    def apply(rows: list[Any]) -> None:
        at = rows[0]
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return apply


def _raw_provenance(text: str) -> Callable[[list[Any]], list[Any]]:
    """The provenance of network 0 as text, which Python's own JSON might not write."""

    def apply(rows: list[Any]) -> list[Any]:
        plain = json.dumps({**rows[0], "provenance": 0}, ensure_ascii=False)
        return [plain.replace('"provenance": 0', f'"provenance": {text}').encode(), *rows[1:]]

    return apply


FIELDS: dict[tuple[str, ...], Sequence[Any]] = {
    ("id",): [None, 1, "", "../x", "0000000000000001"],
    ("spec",): [None, [], "x"],
    ("spec", "backend"): [None, 1],
    ("spec", "config"): [None, [], "x"],
    ("cost",): [None, []],
    ("cost", "body_params"): [None, -1, 1.5, True, 2**63, 10**400, "1"],
    ("cost", "body_macs"): [-(2**63)],
    ("cost", "feature_dim"): [2**40, -1],
    ("preprocessing",): [None],
    ("preprocessing", "size"): [-1, 1.5],
    ("preprocessing", "mean"): [[], [1, 2], ["a", "b", "c"], [[1], [2], [3]], "abc", {"a": 1, "b": 2, "c": 3}, 1],
    ("classes",): [None, "abc", [1], [None], {}],
    ("source_dataset",): [None, 1],
    ("accuracy",): ["x", True, [], 10**400],
    ("license",): [None],
    ("provenance",): [None, [], "x"],
}
"""Values that no field of a description may have."""

for _path, _values in FIELDS.items():
    for _value in _values:
        _content(f"description: {'.'.join(_path)} is {_value!r:.30}", FOUND, _meta(_deep(_path, _value)))
for _value in (7, -1, 1e308):
    _content(f"numbers: accuracy {_value}", VERIFIED, _meta(_deep(("accuracy",), _value)))
_content("description: infinity as 1e999", FOUND, _meta(_raw_provenance('{"a":1e999}')))
_content("description: half a surrogate in the provenance", FOUND, _meta(_raw_provenance('{"a":"\\ud800"}')))
_content("description: half a surrogate as a key", FOUND, _meta(_raw_provenance('{"\\udfff":1}')))
for _depth in (300, 450, 600, 900):
    _content(f"description: a provenance {_depth} deep", EITHER, _meta(_deep(("provenance",), {"a": nested(_depth)})))
_content(
    "description: 1 MiB of empty lists in each row",
    SHOWN,
    lambda columns, about, good: making.set_meta(
        columns,
        "networks",
        [{**row, "provenance": {"a": [[]] * 250_000}} for row in making.rows_of(columns, "networks")],
    ),
)

for _column, _value in {
    "body_params": 2**64 - 1,
    "body_macs": 1,
    "body_bytes": 2**63,
    "feature_dim": 2**32 - 1,
    "classes": 0,
    "accuracy": 0.999,
}.items():
    _content(f"numbers: {_column} is not what is described", FOUND, _with(f"networks/{_column}", 0, _value))
_content("numbers: accuracy NaN where one is described", FOUND, _with("networks/accuracy", 0, np.nan))
_content("numbers: accuracy infinite", FOUND, _with("networks/accuracy", 0, np.inf))


def _redigested(name: str, row: Any, value: Any) -> Callable[[Any, dict[str, Any], Any], None]:
    def apply(columns: Any, about: dict[str, Any], good: Any) -> None:
        _put(columns, name, row, value)
        making.redigest(columns)

    return apply


def _print(name: str, value: float) -> Callable[[Any, dict[str, Any], Any], None]:
    def apply(columns: Any, about: dict[str, Any], good: Any) -> None:
        columns[f"networks/{name}"].reshape(-1)[0] = value
        making.redigest(columns)

    return apply


for _part in ("graph", "kernel", "surprise", "topology", "functional"):
    _content(f"numbers: NaN in {_part}", VERIFIED, _print(_part, np.nan))
    _content(f"numbers: infinity in {_part}", VERIFIED, _print(_part, -np.inf))
_content("numbers: NaN in the features of a dataset", VERIFIED, _redigested("datasets/features", 0, np.nan))
_content("numbers: NaN in the embeddings of a space", VERIFIED, _with("spaces/mixed/embeddings", (0, 0), np.nan))
_content("numbers: a label of 2**62", VERIFIED, _redigested("datasets/labels", 0, 2**62))
_content("numbers: a label of -2", VERIFIED, _redigested("datasets/labels", 0, -2))
for _name, _value in {"NaN": np.nan, "infinity": np.inf, "-1 s": -1.0, "1e300 s": 1e300}.items():
    _content(f"numbers: a latency of {_name}", FOUND, _with("latencies/seconds", 0, _value))
_content("numbers: a device beyond the list", FOUND, _with("latencies/device", 0, 2**32 - 1))
for _name, _data in {"null": b"null", "numbers": b"[1]", "nested": b"[" * 100_000, "nothing": b""}.items():
    _content(
        f"devices: {_name}",
        FOUND,
        lambda columns, about, good, data=_data: columns.update({"latencies/devices": np.frombuffer(data, "<u1")}),
    )


def _no_frames(columns: Any, about: dict[str, Any], good: Any) -> None:
    about["frames"] = 0
    for name in [name for name in columns if name.startswith("frames/")]:
        del columns[name]


_content("weights without frames", FOUND, _no_frames)
_content("digest of a network that is another's", VERIFIED, _with("networks/digest", 0, 7))
_content("digest of a dataset that is another's", VERIFIED, _with("datasets/digest", 0, 7))
_content("digest of a supernet that is another's", VERIFIED, _with("supernets/digest", 0, 7))

for _table in ("networks/meta", "networks/topology", "networks/functional", "networks/frames", "supernets/frames"):
    for _value in (2**64 - 1, 2**40, 0):
        if (_table, _value) != ("networks/topology", 0):
            _content(f"offsets of {_table}: {_value}", FOUND, _with(f"{_table}_offset", 1 if _value else -1, _value))
for _table in ("frames/data", "datasets/meta", "datasets/features", "datasets/labels", "transfers/meta"):
    for _value in (2**64 - 1, 2**40):
        _content(f"offsets of {_table}: {_value}", FOUND, _with(f"{_table}_offset", 1, _value))
_content("offsets of frames/data: not from 0", FOUND, _with("frames/data_offset", 0, 1))

for _name, _changes in {
    "feature_dim 0": {"feature_dim": 0},
    "feature_dim 2**61": {"feature_dim": 2**61},
    "feature_dim is text": {"feature_dim": "20"},
    "classes of numbers": {"classes": [1]},
    "images -1": {"images": -1},
    "name is null": {"name": None},
    "the key of the other": {"digest": "digest-fish-0", "name": "fish"},
}.items():
    _content(f"dataset: {_name}", FOUND, _meta(lambda rows, changes=_changes: rows[0].update(changes), "datasets"))
for _name, _changes in {
    "accuracy 2": {"accuracy": 2},
    "accuracy as text": {"accuracy": "x"},
    "accuracy null": {"accuracy": None},
    "epochs -1": {"epochs": -1},
    "epochs 1e9 as a float": {"epochs": 1e9},
    "recipe a list": {"recipe": []},
    "a network outside": {"network": "../../x", "network_id": "../../x", "id": "../../x"},
}.items():
    _content(f"transfer: {_name}", FOUND, _meta(lambda rows, changes=_changes: rows[0].update(changes), "transfers"))
_content("transfer: recipe 600 deep", EITHER, _meta(_deep(("recipe",), nested(600)), "transfers"))


# -- frames ---------------------------------------------------------------------------------------------------------

GIB = 1 << 30
PICKLE = b"\x80\x04cposix\nsystem\n(X\x04\x00\x00\x00truetR."
Build = Callable[[bytes], Sequence[Any]]
"""``build(weights)`` gives the frames of network 0."""


def _frames(name: str, build: Build, uses: Sequence[int] = (0,), expect: str = FOUND, **more: Any) -> None:
    """Network 0 has its own weights, or ``weights``, as the rows ``uses`` of frames made by hand."""

    def change(columns: Any, about: dict[str, Any], good: Any) -> None:
        frames = build(more.get("weights") or good.weights[columns["networks/id"][0].decode()])
        making.set_frames(columns, about, good, frames, uses, **more)

    _content(f"frame: {name}", expect, change)


def _zstd(name: str, stored: Callable[[], bytes], size: int = 16, expect: str = FOUND) -> None:
    """Network 0 is ``size`` zeros in one compressed frame."""
    _frames(f"zstd: {name}", lambda w: [Frame(stored(), w, making.ZSTD)], expect=expect, weights=bytes(size))


zeros = making.zeros
_zstd("1 GiB where 16 bytes are declared", lambda: zeros(GIB))
_zstd("1 GiB, header and table say 16 bytes", lambda: zeros(GIB, content=16))
_zstd("1 GiB in the header, 16 bytes in the table", lambda: zeros(16, content=GIB))
_zstd("2**62 in the header", lambda: zeros(16, content=1 << 62))
_zstd("2**64 - 1 in the header", lambda: zeros(16, content=2**64 - 1))
_zstd("no size in the header", lambda: zeros(16))
_zstd("fewer bytes than declared", lambda: zeros(15, content=16))
_zstd("more bytes than declared", lambda: zeros(17, content=16))
_zstd("64 MiB from 2 KB, rightly declared", lambda: zeros(64 << 20, content=64 << 20), 64 << 20)
_zstd("two frames in one", lambda: zeros(8, content=8) * 2)
_zstd("a second frame, each as declared", lambda: zeros(16, content=16) * 2)
_zstd("a bomb after the frame", lambda: zeros(16, content=16) + zeros(GIB, content=GIB))
_zstd("a byte after the frame", lambda: zeros(16, content=16) + b"x")
_zstd("10,000 frames of nothing before it", lambda: zeros(0, content=0) * 10_000 + zeros(16, content=16))
_zstd("a frame to be skipped before it", lambda: b"\x50\x2a\x4d\x18\4\0\0\0abcd" + zeros(16, content=16))
_zstd("a frame to be skipped after it", lambda: zeros(16, content=16) + b"\x50\x2a\x4d\x18\4\0\0\0abcd")
_zstd("a frame of 4 GiB to be skipped", lambda: b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + zeros(16, content=16))
for _window in (24, 27, 31, 41):
    _zstd(f"a window of 2**{_window}", lambda window=_window: zeros(16, content=16, window=window))
_zstd("a dictionary", lambda: zeros(16, content=16, descriptor=1, after=b"\7"))
_zstd("a checksum that is wrong", lambda: zeros(16, content=16, descriptor=4) + b"abcd")
_zstd("a reserved bit", lambda: zeros(16, content=16, descriptor=8))
_zstd("no last block", lambda: zeros(16, content=16, last=False))
_zstd("a block of a reserved kind", lambda: zeros(16, content=16)[:-4] + b"\7\0\0")
_zstd("300,000 empty blocks", lambda: making.zstd([(0, b"")] * 300_000 + [(16, b"\0")], content=16), expect=EITHER)
_zstd("cut short", lambda: zeros(16, content=16)[:-1])
_zstd("no zstd", lambda: b"hello")
_zstd("nothing", lambda: b"")
_zstd("an old version of zstd", lambda: b"\x27" + zeros(16, content=16)[1:])
_zstd("other content", lambda: making.zstd([(16, b"\1")], content=16))
_zstd("honest, but of no tensors", lambda: zeros(16, content=16), expect=VERIFIED)


def _packed(data: bytes) -> bytes:
    return making.zstd([(0, data)], content=len(data))


_frames("raw: other content", lambda w: [Frame(w[::-1], w)])
_frames("raw: shorter than declared", lambda w: [Frame(w[:-1], w)])
_frames("raw: longer than declared", lambda w: [Frame(w + b"\0", w)])
_frames("raw: values of 4 bytes", lambda w: [Frame(w, w, item=4)])
for _length in ((1 << 30) + 1, 1 << 40, 1 << 63, 2**64 - 1):
    for _codec in (making.RAW, making.ZSTD):
        _frames(
            f"codec {_codec}, declared length {_length}",
            lambda w, length=_length, codec=_codec: [Frame(zeros(16, content=16), w, codec, length=length)],
            length=_length,
        )
_frames("lengths that overflow together", lambda w: [Frame(w, w, length=1 << 63)] * 2, (0, 1), length=0)
for _item in (0, 3, 7, 16, 255):
    _frames(f"values of {_item} bytes", lambda w, item=_item: [Frame(_packed(w), w, making.ZSTD, item)])
for _codec in (4, 5, 127, 255):
    _frames(f"codec {_codec}", lambda w, codec=_codec: [Frame(w, w, codec)])
for _base in (0, 1, 2**62, 2**63 - 1, -2, -(2**63)):
    _frames(f"codec 0 with base {_base}", lambda w, base=_base: [Frame(w, w, making.RAW, 1, base)])
    _frames(f"codec 1 with base {_base}", lambda w, base=_base: [Frame(_packed(w), w, making.ZSTD, 1, base)])
_DESCRIBED = struct.pack("<BB3I", 4, 1, 4, 0, 4)
"""A slice that is all of a base of 16 bytes."""
for _codec, _stored in ((making.DIFFERENCE, _packed(bytes(16))), (making.SLICE, _DESCRIBED)):

    def _based(name: str, frames: Sequence[tuple[bytes, int, int]], expect: str = FOUND, codec: int = _codec) -> None:
        """Frames of 16 zeros, as ``(stored, codec, base)``."""
        rows = [Frame(data, bytes(16), kind, 4 if kind else 1, base) for data, kind, base in frames]
        _frames(f"codec {codec}{name}", lambda w: rows, expect=expect, weights=bytes(16))

    _full = (bytes(16), making.RAW, -1)
    for _base in (-1, 0, 2**62, 2**63 - 1, -2, -(2**63)):
        _based(f" with base {_base}", [(_stored, _codec, _base), _full])
    _based(": two, each the base of the other", [(_stored, _codec, 1), (_stored, _codec, 0)])
    _based(" on one that has a base", [(_stored, _codec, 1), (_DESCRIBED, making.SLICE, 2), _full])
    _based(" on a base of another length", [(_stored, _codec, 1), (_packed(bytes(16))[:-1], making.ZSTD, -1)])
    for _name, _data in {
        "nothing": b"",
        "zeros": bytes(64),
        "ones": b"\xff" * 64,
        "text": b"x" * 64,
        "a bomb": zeros(GIB, content=GIB),
        "a bomb that says 16": zeros(GIB, content=16),
    }.items():
        _based(f" from {_name}", [(_data, _codec, 1), _full])
for _name, _data in {
    "of rank 0": struct.pack("<BB", 4, 0),
    "of rank 17": struct.pack("<BB51I", 4, 17, *[1] * 51),
    "of rank 255": struct.pack("<BB", 4, 255) + bytes(12 * 255),
    "of other items": struct.pack("<BB3I", 8, 1, 2, 0, 2),
    "of axes of 0": struct.pack("<BB6I", 4, 2, 0, 0, 0, 0, 0, 0),
    "of axes that overflow": struct.pack("<BB12I", 4, 4, *[2**32 - 1] * 4, *[0] * 4, *[1] * 4),
    "of 2**32 axes that overflow to 4": struct.pack("<BB9I", 4, 3, 2**31, 2**31, 4, 0, 0, 0, 1, 1, 4),
    "larger than its base": struct.pack("<BB3I", 4, 1, 4, 0, 1000),
    "beyond its base": struct.pack("<BB3I", 4, 1, 4, 2**32 - 1, 1),
    "one beyond its base": struct.pack("<BB3I", 4, 1, 4, 1, 4),
    "of half": struct.pack("<BB3I", 4, 1, 4, 0, 2),
    "that ends too soon": struct.pack("<BB2I", 4, 1, 4, 0),
    "that goes on": _DESCRIBED + b"more",
}.items():
    _based(f": a slice {_name}", [(_data, making.SLICE, 1), _full])
_frames("one that does not exist", lambda w: [making.raw(w)], [10_000])
_frames("row 2**63", lambda w: [making.raw(w)], [2**63])
_frames("row 2**64 - 1", lambda w: [making.raw(w)], [2**64 - 1])
_frames("one 300,000 times, declared as one", lambda w: [making.raw(w)], [0] * 300_000)
_frames("fewer bytes than the network has", lambda w: [making.raw(w[:-1])])
_frames("more bytes than the network has", lambda w: [making.raw(w + b"\0")])
_frames("weights of 2**63 bytes", lambda w: [making.raw(w)], length=2**63)
_frames("weights that are no safetensors", lambda w: [making.raw(w)], expect=VERIFIED, weights=b"hello")
_frames("weights that are a pickle", lambda w: [making.raw(w)], expect=VERIFIED, weights=PICKLE)
_frames(
    "safetensors with a header of 2**60",
    lambda w: [making.raw(w)],
    expect=VERIFIED,
    weights=struct.pack("<Q", 2**60) + b"{}",
)
_frames(
    "safetensors nested",
    lambda w: [making.raw(w)],
    expect=VERIFIED,
    weights=struct.pack("<Q", 100_000) + b"[" * 100_000,
)
_frames(
    "safetensors of axes that overflow",
    lambda w: [making.raw(w)],
    expect=VERIFIED,
    weights=struct.pack("<Q", 77) + b'{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}   ',
)


def _bomb(size: int) -> Any:
    """Zeros, as few bytes as the format allows for them."""
    blocks = [(0, b"")] * (size // 3000 + 1)
    return Frame(making.zstd(blocks + [(making.BLOCK, b"\0")] * (size // making.BLOCK), content=size), bytes(size), 1)


_frames("one of 1 MiB a million times", lambda w: [_bomb(1 << 20)], [0] * 1_000_000, length=1_000_000 << 20)
_frames("3.75 GiB from 64 KB", lambda w: [_bomb(60 << 20)], [0] * 64, length=64 * (60 << 20))


def _all_bombs(columns: Any, about: dict[str, Any], good: Any) -> None:
    """Each network is as large as the budget of one allows, from one small frame."""
    size = 30 << 20
    making.set_frames(columns, about, good, [_bomb(size)], [0, 0, 0, 0], weights=bytes(4 * size))
    count = len(columns["networks/id"])
    columns["networks/frames"] = np.zeros(4 * count, "<u8")
    columns["networks/frames_offset"] = np.arange(0, 4 * count + 1, 4, dtype="<u8")
    for name in ("weights_length", "weights_sha256"):
        columns[f"networks/{name}"][:] = columns[f"networks/{name}"][0]
    making.redigest(columns)


def _slices_of_a_bomb(columns: Any, about: dict[str, Any], good: Any) -> None:
    """A network of 256 bytes, whose frames all have a base of 60 MiB that must be decoded for each."""
    words = struct.pack("<BB3I", 4, 1, 15 << 20, 0, 1)
    frames = [_bomb(60 << 20), *[Frame(words, bytes(4), making.SLICE, 4, 0)] * 64]
    making.set_frames(columns, about, good, frames, range(1, 65), weights=bytes(256))


_content("frame: every network as large as one may be", VERIFIED, _all_bombs)
_content("frame: small slices of a large base", FOUND, _slices_of_a_bomb)


# -- names that a zoo may hold, and that must not reach the terminal as they are -----------------------------------

EVIL = "\x1b[31mred\x1b]0;title\x07\x9b2J\x85\r\nFORGED \u202egpj.exe\u2066\u200b\x7f\u2028[bold]"
"""Colours, a title, a bell, C1 controls, a forged line, a name that reads backwards, markup of Rich."""
RAW_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""What must not be in the output of any command; a newline of its own is no harm."""

for _path in (
    ("classes",),
    ("source_dataset",),
    ("source_digest",),
    ("license",),
    ("spec", "name"),
    ("spec", "backend"),
    ("spec", "source"),
):
    _content(f"names: {'.'.join(_path)}", SHOWN, _meta(_deep(_path, [EVIL, EVIL] if _path == ("classes",) else EVIL)))
_content("names: configuration", SHOWN, _meta(_deep(("spec", "config"), {EVIL: [EVIL, {EVIL: EVIL}]})))
_content("names: provenance", SHOWN, _meta(_deep(("provenance",), {EVIL: [EVIL, {EVIL: EVIL}]})))


_content(
    "names: dataset",
    SHOWN,
    _meta(lambda rows: rows[0].update(name=EVIL, classes=[EVIL, "b", "c"]), "datasets"),
)
# what merges or searches refuses datasets of two extractors, and names them
_content("names: extractor of a dataset", EITHER, _meta(lambda rows: rows[0].update(extractor=EVIL), "datasets"))
_content(
    "names: device",
    SHOWN,
    lambda columns, about, good: columns.update({"latencies/devices": np.frombuffer(canonical_json([EVIL]), "<u1")}),
)
_content(
    "names: recipe of a transfer",
    SHOWN,
    _meta(lambda rows: rows[0].update({"recipe": {EVIL: EVIL}, "dataset": EVIL}), "transfers"),
)


def space_meta(columns: Any, **changes: Any) -> None:
    """Change the description of the space ``mixed``."""
    value = json.loads(columns["spaces/mixed/meta"].tobytes()) | changes
    columns["spaces/mixed/meta"] = np.frombuffer(json.dumps(value).encode(), "<u1")


for _name, _changes in {
    "method": {"method": EVIL},
    "settings": {"settings": {EVIL: EVIL}},
    "report": {"report": {EVIL: EVIL, "seconds": 1.0}},
}.items():
    _content(
        f"names: {_name} of a space",
        SHOWN,
        lambda columns, about, good, changes=_changes: space_meta(columns, **changes),
    )


# -- spaces --------------------------------------------------------------------------------------------------------

for _name, _changes in {
    "method is a number": {"method": 1},
    "settings are a list": {"settings": []},
    "report is null": {"report": None},
}.items():
    _content(f"space: {_name}", FOUND, lambda columns, about, good, changes=_changes: space_meta(columns, **changes))
for _name, _data in {"no JSON": b"{", "a list": b"[]", "nested": b"[" * 100_000, "nothing": b""}.items():
    _content(
        f"space: {_name}",
        FOUND,
        lambda columns, about, good, data=_data: columns.update({"spaces/mixed/meta": np.frombuffer(data, "<u1")}),
    )

_content(
    "space: interval80 of infinity",
    FOUND,
    lambda columns, about, good: columns.update(
        {
            "spaces/mixed/meta": np.frombuffer(
                columns["spaces/mixed/meta"].tobytes().replace(b'"report":{', b'"report":{"interval80":1e999,'), "<u1"
            )
        }
    ),
)

SPACES: dict[str, Callable[[Any], object]] = {
    "an unknown setting": lambda columns: space_meta(columns, settings={"nope": 1}),
    "dim as text": lambda columns: space_meta(columns, settings={"dim": "x"}),
    "dim of 2**40": lambda columns: space_meta(columns, settings={"dim": 2**40}),
    "another method": lambda columns: space_meta(columns, method="mixed", settings={}),
    "an unknown method": lambda columns: space_meta(columns, method="os.system"),
    "a method of dunder": lambda columns: space_meta(columns, method="__class__"),
    "interval80 of nothing": lambda columns: space_meta(columns, report={"interval80": "x"}),
    "tensors of garbage": lambda columns: columns.update({"spaces/mixed/tensors": np.frombuffer(b"hello", "<u1")}),
    "tensors of nothing": lambda columns: columns.update({"spaces/mixed/tensors": np.zeros(0, "<u1")}),
    "tensors that are a pickle": lambda columns: columns.update({"spaces/mixed/tensors": np.frombuffer(PICKLE, "<u1")}),
    "tensors of other shapes": lambda columns: columns.update({"spaces/mixed/tensors": _tensors(3)}),
    "tensors with a header of 2**60": lambda columns: columns.update(
        {"spaces/mixed/tensors": np.frombuffer(struct.pack("<Q", 2**60) + b"{}", "<u1")}
    ),
    "embeddings of another width": lambda columns: columns.update(
        {"spaces/mixed/embeddings": np.zeros((len(columns["spaces/mixed/ids"]), 3), "<f4")}
    ),
    "a report of the wrong kind": lambda columns: space_meta(columns, report={"seconds": "x", "held_out": [1]}),
    "a report half empty": lambda columns: space_meta(columns, report={"seconds": 1.0, "held_out": {"retrieval": {}}}),
}
"""Spaces that can be read and verified, and that searching must refuse or survive."""


def _tensors(dim: int) -> np.ndarray:
    return np.frombuffer(making.searchable_space(["a"], dim=dim).tensors, "<u1")


for _name, _change in SPACES.items():
    _content(f"search: {_name}", SHOWN, lambda columns, about, good, change=_change: change(columns))


# -- files as a whole ----------------------------------------------------------------------------------------------


def _bytes(name: str, change: Callable[[bytes], bytes], expect: str = REFUSED, sealed: bool = False) -> None:
    def make(path: Path, good: Any) -> None:
        path.write_bytes(change(good.whole))
        if sealed:
            making.seal(path)

    _add(f"file: {name}", expect, make)


for _share in (0.0, 0.001, 0.1, 0.5, 0.9, 0.999):
    _bytes(f"cut to {_share:.1%}", lambda whole, share=_share: whole[: int(share * len(whole))])
_bytes("without the last byte", lambda whole: whole[:-1], FOUND)
_bytes("signature alone", lambda whole: whole[:8])
_bytes("text", lambda whole: b"hello\n")
_bytes("other bytes after the signature", lambda whole: whole[:8] + bytes(range(256)) * 40)
_bytes("a user block before it", lambda whole: bytes(512) + whole)
_bytes("a second zoo after it", lambda whole: whole + whole, VERIFIED)
_bytes("a second zoo after it, sealed", lambda whole: whole + whole, IGNORED, sealed=True)
_bytes("a zip after it, sealed", lambda whole: whole + b"PK\5\6" + bytes(18), IGNORED, sealed=True)


def _flip(at: float, bit: int = 0) -> Callable[[bytes], bytes]:
    def change(whole: bytes) -> bytes:
        changed = bytearray(whole)
        changed[int(at * (len(whole) - 1))] ^= 1 << bit
        return bytes(changed)

    return change


for _at in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
    _bytes(f"a bit flipped at {_at:.0%}", _flip(_at, int(10 * _at) % 8), VERIFIED)


def _address(value: int) -> Callable[[Path, Any], None]:
    """The address of a column in the metadata of HDF5 is made another."""

    def make(path: Path, good: Any) -> None:
        shutil.copyfile(good.path, path)
        with h5py.File(path, "r") as file:
            places = [struct.pack("<Q", column.id.get_offset()) for column in file["networks"].values()]
        whole = path.read_bytes()
        at = next(place for place in places if whole.count(place) == 1)  # and nothing else in the file looks like it
        path.write_bytes(whole.replace(at, struct.pack("<Q", value)))
        making.seal(path)

    return make


def _overflowing(path: Path, good: Any) -> None:
    """A shape of 2**33 by 2**33, whose product is 0 in 64 bits; HDF5 itself would not write it."""
    replacing(VICTIM, lambda file, name, old, folder: file.create_dataset(name, (12_345, 54_321), "u1"))(path, good)
    whole = path.read_bytes()
    assert struct.pack("<QQ", 12_345, 54_321) in whole
    path.write_bytes(whole.replace(struct.pack("<QQ", 12_345, 54_321), struct.pack("<QQ", 1 << 33, 1 << 33)))
    making.seal(path)


_add("file: a shape that overflows", REFUSED, _overflowing)
_add("file: a column beyond the end", REFUSED, _address(1 << 40))
_add("file: a column across the end of addresses", REFUSED, _address(2**64 - 64))
_add("file: a column on top of the superblock", FOUND, _address(0))


def _device(path: Path, good: Any) -> Path:
    return Path("/dev/zero")


@cache
def _digest_of_zeros(size: int) -> str:
    total = xxhash.xxh3_128()
    for _ in range(size >> 20):
        total.update(bytes(1 << 20))
    return total.hexdigest()


def _sparse(
    name: str, column: str, size: int, change: Callable[[Any, int], object] = lambda columns, size: None
) -> None:
    """A column of many zeros that take no space on the disk."""

    def make(path: Path, good: Any) -> None:
        columns, about = good.copy()
        change(columns, size // columns[column].dtype.itemsize)
        making.write_zoo(path, columns, about)
        with h5py.File(path, "r+") as file:
            kind = file[column].id.get_type()
            del file[column]
            settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space = h5py.h5s.create_simple((size // kind.get_size(),))
            h5py.h5d.create(file.id, column.encode(), kind, space, settings)
        making.reseal(path, known={column: _digest_of_zeros(size)})

    _add(f"sparse: {name}", EITHER, make)


def _all_in_the_first_row(*names: str) -> Callable[[Any, int], None]:
    def change(columns: Any, values: int) -> None:
        for name in names:
            columns[f"{name}_offset"][1:] = values

    return change


def _wide_features(columns: Any, values: int) -> None:
    rows = making.rows_of(columns, "datasets")
    rows[0]["feature_dim"] = values // 8
    making.set_meta(columns, "datasets", rows)
    columns["datasets/features_offset"][1:] = values
    columns["datasets/labels_offset"][1:] = 8
    columns["datasets/labels"] = np.zeros(8, "<i8")


_sparse("1 GiB of tensors of a space", "spaces/mixed/tensors", GIB)
_sparse("1 GiB of description of a space", "spaces/mixed/meta", GIB)
_sparse("1 GiB of descriptions", "networks/meta", GIB, _all_in_the_first_row("networks/meta"))
_sparse("1 GiB of names of devices", "latencies/devices", GIB)
_sparse("1 GiB of a topology", "networks/topology", GIB, _all_in_the_first_row("networks/topology"))
_sparse("1 GiB of features", "datasets/features", GIB, _wide_features)


def _symlink(path: Path, good: Any) -> None:
    path.symlink_to(good.path)


def _socket(path: Path, good: Any) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a path of a socket has 107 characters at most
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


_add("file: a symbolic link", REFUSED, _symlink)
_add("file: a symbolic link to nowhere", REFUSED, lambda path, good: path.symlink_to("nowhere.h5"))
_add("file: a FIFO", REFUSED, lambda path, good: os.mkfifo(path))
_add("file: a socket", REFUSED, _socket)
_add("file: a folder", REFUSED, lambda path, good: path.mkdir())
_add("file: a device", REFUSED, _device)


# -- journals ------------------------------------------------------------------------------------------------------

SHARD = "network-0000000000000063.h5"
"""Name of a shard of a network that the good zoo does not have."""


def _journal(name: str, expect: str, fill: Callable[[Path, Any], object]) -> None:
    """A good zoo with a journal into which ``fill(shard, good)`` puts something."""

    def make(path: Path, good: Any) -> None:
        canary(path)
        shutil.copyfile(good.path, path)
        folder = path.with_name(path.name + ".journal")
        folder.mkdir()
        fill(folder / SHARD, good)

    _add(f"journal: {name}", expect, make)


def good_shard(path: Path, good: Any, number: int = 99, accuracy: float = 0.5) -> Path:
    """Write what a writer would: the shard of one network."""
    from nns.testing._store import sample_network

    with tempfile.TemporaryDirectory(dir=path.parent.parent) as folder:
        store = HDF5Store(Path(folder) / "zoo.h5")
        store.add_network(sample_network(number, accuracy=accuracy))
        (made,) = (Path(folder) / "zoo.h5.journal").glob("network-*.h5")
        shutil.move(made, path)
    return path


def _linked_shard(path: Path, good: Any) -> None:
    path.symlink_to(good_shard(path.parent.parent / f"shard-of-{path.parent.name}", good))


def _edited_shard(change: Callable[[h5py.File, Path], object]) -> Callable[[Path, Any], None]:
    def make(path: Path, good: Any) -> None:
        good_shard(path, good)
        with h5py.File(path, "r+") as file:
            change(file, path.parent.parent / "canary")
        making.reseal(path, [VICTIM])

    return make


def _swapped_shard(name: str) -> Callable[[Path, Any], None]:
    def change(file: h5py.File, folder: Path) -> None:
        old = file[VICTIM][()]
        del file[VICTIM]
        SWAPS[name](file, VICTIM, old, folder)

    return _edited_shard(change)


def _folder_elsewhere(path: Path, good: Any) -> None:
    """The journal itself is a link to a folder."""
    good_shard(path, good)
    elsewhere = path.parent.with_name(path.parent.name + ".elsewhere")
    path.parent.rename(elsewhere)
    path.parent.symlink_to(elsewhere)


def _folder_replaced(make: Callable[[Path], object]) -> Callable[[Path, Any], None]:
    def fill(path: Path, good: Any) -> None:
        path.parent.rmdir()
        make(path.parent)

    return fill


_journal("a shard that is a link", REFUSED, _linked_shard)
_journal("a shard that is a FIFO", REFUSED, lambda path, good: os.mkfifo(path))
_journal("a shard that is a folder", REFUSED, lambda path, good: path.mkdir())
_journal("a shard that is text", REFUSED, lambda path, good: path.write_text("hello"))
_journal("a shard that is cut", REFUSED, lambda path, good: path.write_bytes(good.whole[: len(good.whole) // 2]))
for _name in ("external storage", "external link to a FIFO", "gzip bomb", "huge shape", "vlen", "virtual"):
    _journal(f"a shard with {_name}", REFUSED, _swapped_shard(_name))
_journal("a shard of a newer version", REFUSED, lambda path, good: _newer(good_shard(path, good)))
_journal("a shard under the name of another", REFUSED, lambda path, good: good_shard(path, good, 98, accuracy=0.5))
_journal("a shard that contradicts the zoo", REFUSED, lambda path, good: good_shard(path, good, 0, accuracy=0.9))
_journal("a whole zoo in place of a shard", EITHER, lambda path, good: shutil.copyfile(good.path, path))
_journal("a folder that is a link", REFUSED, _folder_elsewhere)
_journal("a folder that is a FIFO", REFUSED, _folder_replaced(lambda folder: os.mkfifo(folder)))
_journal("a folder that is a file", REFUSED, _folder_replaced(lambda folder: folder.write_text("hello")))
_journal(
    "a bit flipped in a shard", VERIFIED, lambda path, good: path.write_bytes(_flip(0.5)(_shard_bytes(path, good)))
)


def _newer(path: Path) -> None:
    making.reseal(path, version=_NEWER)


def _shard_bytes(path: Path, good: Any) -> bytes:
    return good_shard(path, good).read_bytes()


# -- writing them --------------------------------------------------------------------------------------------------


def file_name(name: str) -> str:
    """Make a file name out of the name of a case."""
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")
    return f"{list(CASES).index(name):03d}-{slug}.h5"


def write_cases(folder: Path, names: Iterable[str] | None = None) -> dict[str, Path]:
    """Write the hostile files, and the good zoo they come from as ``good.h5``; gives their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    good = making.good_zoo(folder / "good.h5")
    found: dict[str, Path] = {}
    for name in CASES if names is None else names:
        found[name] = CASES[name].make(folder / file_name(name), good)
    return found


# -- checking them -------------------------------------------------------------------------------------------------

FIRST = "0000000000000000"
"""Id of the network that is shown."""
COMMANDS: dict[str, tuple[str, ...]] = {
    "read": (),
    "verify": ("zoo", "verify", "ZOO"),
    "ls": ("zoo", "ls", "ZOO"),
    "info": ("zoo", "info", "ZOO"),
    "show": ("zoo", "show", "ZOO", FIRST),
    "show --json": ("zoo", "show", "ZOO", FIRST, "--json"),
    "spaces": ("space", "show", "ZOO"),
    "merge": ("zoo", "merge", "OUT", "ZOO"),
    "search": ("search", "DATA", "--zoo", "ZOO"),
}
SEARCHED = re.compile("search|names|space|NaN")
"""Cases that are also searched in, which takes a second each."""
BUDGET = 600 << 20
"""Bytes of address space that a command may take above what the program itself takes."""
MAX_WEIGHTS = 128 << 20
"""What $NNS_MAX_WEIGHTS is set to: with it the budget must do."""
SECONDS = 30.0
"""How long a command may take."""
CALLS = "open,openat,openat2,creat,connect,execve,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,mkdir"
CALL = re.compile(r'(\w+)\((?:AT_FDCWD, |\d+, )?"((?:[^"\\]|\\.)*)"([^)]*)')
MARK = "/the command begins here"
PROGRAM = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]), "/usr/lib", "/lib", "/proc", "<")
"""Where the program itself is, which may be read."""
WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")


@dataclass(frozen=True)
class Run:
    """How one command ended on one file.

    Attributes:
        code: Exit code, or minus the signal that ended it.
        seconds: How long it took.
        peak: The most memory it held, bytes.
        out: What it printed.
        err: What it printed on stderr.
        calls: System calls that name a file: call, path, flags.
    """

    code: int
    seconds: float
    peak: int
    out: str
    err: str
    calls: tuple[tuple[str, str, str], ...]

    @property
    def sentence(self) -> str:
        lines = [line for line in (self.err + self.out).splitlines() if line.strip()]
        return lines[0].strip() if lines else ""


def read_everything(store: Any) -> list[Any]:
    """Read all there is in a store."""
    whole = (store.entries, store.graphs, store.kernels, store.surprises, store.datasets, store.supernets)
    found: list[Any] = [read() for read in (*whole, store.transfers, store.digest, store.sizes, store.packing)]
    for name in store.ids():
        found += [store.entry(name), store.fingerprint(name), store.network_digest(name), len(store.weights(name))]
    found += [len(store.supernet_weights(entry.id)) for entry in store.supernets()]
    found += [store.space(name) for name in store.spaces()]
    found += [Zoo(store.path).weights_bytes([name]) for name in store.ids()]
    return found + [store.latencies(name) for name in store.devices()]


def _execute(command: str, names: Mapping[str, str]) -> None:
    """Run a command as ``nns`` would, in this process."""
    from nns.cli import main as run_nns
    from nns.errors import ZooError

    if COMMANDS[command]:
        sys.argv = ["nns", *(names.get(word, word) for word in COMMANDS[command])]
        run_nns()
        return
    try:
        with HDF5Store(names["ZOO"], must_exist=True) as store:
            read_everything(store)
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(ZooError.exit_code)


def serve(search: bool) -> None:
    """Fork a child for each line of stdin, which runs one command; what became of it is a line of stdout.

    Forked, so that a thousand runs need not import everything anew; this process opens no zoo itself.
    """
    for module in ("rich.table", "zstandard", "nns.cli.app", "nns.zoo", *(["torch"] if search else [])):
        importlib.import_module(module)
    print("0", flush=True)
    for line in sys.stdin:
        command, path, data, out = json.loads(line)
        shutil.rmtree(Path(out).with_name("out.h5.journal"), ignore_errors=True)
        Path(out).with_name("out.h5").unlink(missing_ok=True)
        started = time.perf_counter()
        pid = os.fork()
        if not pid:
            _child(command, path, data, Path(out))
        code, peak = _wait(pid, started + SECONDS)
        print(json.dumps([code, time.perf_counter() - started, peak]), flush=True)


def _child(command: str, path: str, data: str, out: Path) -> None:
    code = 1
    try:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(out.with_suffix(f".{name}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        size += BUDGET + os.lstat(path).st_size  # the file may be mapped
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        with suppress(OSError):
            os.open(MARK, os.O_RDONLY)  # marks in the trace where the command itself begins
        _execute(command, {"ZOO": path, "DATA": data, "OUT": str(out.with_name("out.h5"))})
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - what Python itself would do
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


def _wait(pid: int, until: float) -> tuple[int, int]:
    """Wait for a child, or kill it when its time is up: exit code, and the most memory it held."""
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss << 10
        if time.perf_counter() > until:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


class Server:
    """A process that runs commands in forked children, under strace if there is one."""

    def __init__(self, folder: Path, data: Path, search: bool) -> None:
        """Start it; what children print and call goes to ``folder``, images to search with are in ``data``."""
        self.folder, self.data = folder, data
        folder.mkdir()
        run = [sys.executable, "-B", __file__, str(folder), "--serve", *(["--only", "search"] if search else [])]
        if shutil.which("strace"):
            run = [
                "strace",
                "-ff",
                "--seccomp-bpf",
                "-qq",
                "-s",
                "4096",
                "-o",
                str(folder / "trace"),
                "-e",
                f"trace={CALLS}",
                *run,
            ]
        settings = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NNS_MAX_WEIGHTS": str(MAX_WEIGHTS)}
        self.process = subprocess.Popen(
            run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings}
        )
        self._answer()
        self.own = set(folder.glob("trace.*"))

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def run(self, command: str, path: Path) -> Run:
        """Run one command on one file."""
        assert self.process.stdin is not None
        out = self.folder / "said"
        self.process.stdin.write(json.dumps([command, str(path), str(self.data), str(out)]) + "\n")
        self.process.stdin.flush()
        code, seconds, peak = self._answer()
        texts = [out.with_suffix(f".{name}").read_bytes().decode("utf-8", "surrogateescape") for name in ("out", "err")]
        return Run(code, seconds, peak, *texts, calls=tuple(self._calls()))

    def _calls(self) -> Iterator[tuple[str, str, str]]:
        """Read what the child and its threads called since the mark."""
        for trace in set(self.folder.glob("trace.*")) - self.own:
            text = trace.read_text("utf-8", "surrogateescape")
            yield from CALL.findall(text.partition(MARK)[2] if MARK in text else text)
            trace.unlink()

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def surprising(calls: Iterable[tuple[str, str, str]], allowed: set[str], path: Path) -> list[str]:
    """Name the calls that a good zoo does not lead to: another file than the zoo and its journal, or writing.

    A merge may write what it is to write.
    """
    found = []
    for name, where, flags in calls:
        if MERGED.search(where):
            continue
        mine = where == str(path) or where.startswith((f"{path}.journal", f"{path}.journal/"))
        reading = name in ("open", "openat") and not WRITING.search(flags)
        known = where in allowed or where.startswith(PROGRAM)
        if not (known and (reading or where in allowed)) and not (mine and reading):
            found.append(f"{name} {where}")
    return found


MERGED = re.compile(r"/light-\d+(/out\.h5(\.journal(/[^/]+)?)?)?$")
"""What a merge writes: a zoo in the folder of the server, and that folder."""
SAME = ("ls", "show", "show --json", "spaces")
"""Commands whose output, but for the first line, does not depend on the file's name or size."""
ACCEPTS_NOT = {REFUSED: tuple(COMMANDS), FOUND: ("read", "verify"), VERIFIED: ("verify",)}
"""Commands that must refuse a file, by what is expected."""


def judge(expect: str, runs: Mapping[str, Run], good: Mapping[str, Run]) -> list[str]:
    """Say what is not as it should be with the runs of all commands on one file."""
    wrong = []
    for command, run in runs.items():
        if run.code < 0:
            wrong.append(f"{command} died of {signal.Signals(-run.code).name} after {run.seconds:.0f} s")
        elif "Traceback" in run.err:
            last = [line for line in run.err.splitlines() if line.strip()][-1]
            wrong.append(f"{command} raised {last[:160]}")
        elif run.code == 4:
            if command != "verify" and not re.fullmatch(r"error: [^\n]+\n", run.err):
                wrong.append(f"{command} said {run.err[:120]!r}")
            if expect == IGNORED or (expect == SHOWN and command != "search"):
                wrong.append(f"{command} refused it: {run.sentence[:160]}")
        elif run.code == 0:
            if command in ACCEPTS_NOT.get(expect, ()):
                wrong.append(f"{command} accepted it")
            if expect == IGNORED and command in SAME and run.out.splitlines()[1:] != good[command].out.splitlines()[1:]:
                wrong.append(f"{command} gave another answer")
        elif not ((command == "search" or expect == EITHER) and re.fullmatch(r"error: [^\n]+\n", run.err)):
            wrong.append(f"{command} exited with {run.code}: {run.sentence[:160]}")
        raw = RAW_CONTROL.search(run.out + run.err)
        if raw:
            wrong.append(f"{command} printed a raw {raw[0]!r}")
        if forged := re.search(r"^FORGED", run.out + run.err, re.MULTILINE):
            wrong.append(f"{command} printed a line that a name began: {forged[0]}")
    return wrong


def check(folder: Path, names: Sequence[str], jobs: int) -> int:
    """Check all cases, print the table and a summary; gives the number of cases that are not as they should be."""
    from nns.testing import tiny_image_folder

    paths = write_cases(folder, names)
    before = {path: path.read_bytes() for path in sorted((folder / "canary").glob("secret*"))}
    good, data = folder / "good.h5", tiny_image_folder(folder / "images", classes=2, per_class=3)
    servers: Queue[tuple[Server, Server]] = Queue()
    for number in range(jobs):
        servers.put((Server(folder / f"light-{number}", data, False), Server(folder / f"heavy-{number}", data, True)))

    def run_all(path: Path, search: bool) -> dict[str, Run]:
        light, heavy = servers.get()
        try:
            commands = [command for command in COMMANDS if search or command != "search"]
            return {command: (heavy if command == "search" else light).run(command, path) for command in commands}
        finally:
            servers.put((light, heavy))

    reference = run_all(good, True)
    for command, run in reference.items():
        assert run.code == 0, (command, run.err)
    allowed = {where for run in reference.values() for _, where, _ in run.calls} - {str(good)}
    peaks = ", ".join(f"{command} {run.peak >> 20} MB" for command, run in reference.items())
    print(f"good zoo of {good.stat().st_size} bytes: {peaks}; {len(allowed)} other files opened")
    print(f"at most {BUDGET >> 20} MB of address space more, {SECONDS:.0f} s, NNS_MAX_WEIGHTS={MAX_WEIGHTS}\n")
    head = ["file", "expected", *COMMANDS, "s", "peak MB", "said"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))

    def one(name: str) -> tuple[str, dict[str, Run], list[str]]:
        runs = run_all(paths[name], bool(SEARCHED.search(name)))
        wrong = judge(CASES[name].expect, runs, reference)
        for command, run in runs.items():
            wrong += [f"{command} called {call}" for call in surprising(run.calls, allowed, paths[name])]
        return name, runs, wrong

    bad: dict[str, list[str]] = {}
    slowest, largest = 0.0, 0
    with ThreadPoolExecutor(jobs) as pool:
        for name, runs, wrong in pool.map(one, names):
            seconds, peak = max(run.seconds for run in runs.values()), max(run.peak for run in runs.values())
            slowest, largest = max(slowest, seconds), max(largest, peak)
            codes = [str(runs[command].code) if command in runs else "" for command in COMMANDS]
            row = [name, CASES[name].expect, *codes, f"{seconds:.1f}", str(peak >> 20), _said(runs, paths[name])]
            print("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |", flush=True)
            if wrong:
                bad[name] = wrong
    while not servers.empty():
        for server in servers.get():
            server.close()
    changed = [path.name for path, content in before.items() if path.read_bytes() != content]
    print(f"\n{len(names)} files, {len(bad)} not as they should be; slowest {slowest:.1f} s, peak {largest >> 20} MB")
    print(f"canaries changed: {', '.join(changed) or 'none'}")
    for name, wrong in bad.items():
        print(f"- {name} ({CASES[name].expect}): {'; '.join(wrong)}")
    return len(bad)


def _said(runs: Mapping[str, Run], path: Path) -> str:
    refusals = [run for run in runs.values() if run.code == 4]
    run = next((run for run in refusals if run.err), refusals[0] if refusals else runs["verify"])
    said = run.sentence if run.err else " ".join(run.out.split()[-40:])
    return ascii(said.replace(str(path), "ZOO"))[1:-1][:200]


def main() -> None:
    """Write, or check, the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="OUT_DIR")
    parser.add_argument("--check", action="store_true", help="read each, in processes of its own")
    parser.add_argument("--only", metavar="REGEX", default="", help="only the cases whose name matches")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(bool(args.only))
        return
    names = [name for name in CASES if re.search(args.only, name)]
    folder = args.folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty")
    if args.check:
        sys.exit(1 if check(folder, names, args.jobs) else 0)
    for name, path in write_cases(folder, names).items():
        print(f"{os.lstat(path).st_size:12d}  {CASES[name].expect:8s}  {path.name}  ({name})")


if __name__ == "__main__":
    main()
