"""Files of repositories of the Hugging Face hub: in its cache, by its library, with its settings and its tokens."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nns.errors import WeightsError
from nns.networks.downloads import digest_of, fetch_url, partial, problem_of
from nns.networks.pins import Content
from nns.places import MAX_WEIGHTS_BYTES, HubWeights
from nns.untrusted import CARD, WEIGHTS, read_file

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

    from nns.types import PartProgress

_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)
_ETAG = re.compile(r"[A-Za-z0-9_-]{8,128}", re.ASCII)


def endpoint() -> str:
    """Return the host that is asked: the hub, or what HF_ENDPOINT says."""
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).netloc or constants.ENDPOINT


def is_offline() -> bool:
    """Return whether HF_HUB_OFFLINE forbids connecting."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def cached(weights: HubWeights, known: Content) -> Path | None:
    """Find a file in the hub's cache; nothing connects."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(weights.repo, weights.file, revision=known.revision or weights.revision)
    return Path(path) if isinstance(path, str) else None


def commit_of(path: Path) -> str | None:
    """Return the commit that a file of the cache is of: the folder below ``snapshots``."""
    parts = path.parts
    at = len(parts) - 1 - parts[::-1].index("snapshots") if "snapshots" in parts else len(parts)
    found = parts[at + 1] if at + 1 < len(parts) else ""
    return found if _COMMIT.fullmatch(found) else None


def download(weights: HubWeights, known: Content, progress: PartProgress | None) -> tuple[Path, Content]:
    """Fetch a file into the hub's cache, and check it before it gets a name there.

    Raises:
        WeightsError: If the hub has another file than the one that is known.
        Exception: Whatever the hub's library raises.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    wanted = known.revision or weights.revision
    about = get_hf_file_metadata(hf_hub_url(weights.repo, weights.file, revision=wanted))
    commit, etag, size = _checked(weights, about, known)
    folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=weights.repo, repo_type="model"), "blobs")
    # in its cache and under the name of its blobs, where its own download finds it whole; only that begins anew after
    # an interruption, and puts the file under its name before anybody has looked at the sha256
    blob, unfinished = folder / etag, folder / f"{etag}.nns-incomplete"
    if not blob.exists():
        with partial(unfinished) as file:
            if not blob.exists():
                # straight from where the hub keeps the file, since a redirect loses where to go on; that is mostly
                # another host, which the user's token is not for
                headers = build_hf_headers() if urlsplit(about.location).netloc == endpoint() else {}
                fetch_url(about.location, file, size, headers, progress)
                if problem := _problem(unfinished, etag, Content(size, known.sha256)):
                    unfinished.unlink()
                    raise WeightsError(f"{weights.repo} sent other bytes than it announced ({problem}); try again")
                unfinished.rename(blob)
    path = Path(hf_hub_download(weights.repo, weights.file, revision=commit))
    return path, Content(path.stat().st_size, known.sha256 or digest_of(path), commit)


def _checked(weights: HubWeights, about: HfFileMetadata, known: Content) -> tuple[str, str, int | None]:
    """Compare what the hub says of a file with what is known; gives commit, tag of the content, and size."""
    commit, etag, size = about.commit_hash, about.etag, about.size
    if not commit or not _COMMIT.fullmatch(commit) or not etag or not _ETAG.fullmatch(etag):
        raise WeightsError(f"{endpoint()} does not say what {weights.repo} holds: it is no hub, or none that nns knows")
    if size is not None and size > MAX_WEIGHTS_BYTES:
        raise WeightsError(f"{weights.file} of {weights.repo} has {size} bytes, more than {MAX_WEIGHTS_BYTES}")
    said = Content(size, etag if len(etag) == 64 else None)
    for name in ("bytes", "sha256"):
        theirs, ours = getattr(said, name), getattr(known, name)
        if None not in (theirs, ours) and theirs != ours:
            raise WeightsError(
                f"{weights.file} of {weights.repo} is not the file that is meant ({name} {theirs}, not {ours}): "
                "the repository has changed"
            )
    return commit, etag, size


def _problem(path: Path, etag: str, known: Content) -> str | None:
    """Compare a file with what is known and with its tag: sha256 of a large file, git's sha1 of a small one."""
    if found := problem_of(path, known):
        return found
    if len(etag) == 64:
        return problem_of(path, Content(sha256=etag))
    if _COMMIT.fullmatch(etag):
        header = f"blob {path.stat().st_size}\0".encode()
        git = hashlib.sha1(header + read_file(path, WEIGHTS), usedforsecurity=False).hexdigest()
        return None if git == etag else f"git's sha1 {git} where {etag} is meant"
    return None


FILES = ("model.safetensors", "pytorch_model.bin")
"""What repositories call their weights."""


def describe(repo: str, revision: str | None) -> HubWeights:
    """Ask the hub which file has the weights of a repository, at which commit, how large, and with which digest.

    Raises:
        WeightsError: If it cannot be asked, or has none.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for file in FILES:
        weights = HubWeights(repo, file, revision)
        with _asking(repo):
            try:
                about = get_hf_file_metadata(hf_hub_url(repo, file, revision=revision))
            except EntryNotFoundError:
                continue
        commit, etag, size = _checked(weights, about, Content())
        return HubWeights(repo, file, commit, size, etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None)
    raise WeightsError(f"{repo} has no {' and no '.join(FILES)}")


def read_config(repo: str, revision: str | None) -> dict[str, Any]:
    """Fetch the ``config.json`` of a repository; empty if it has none.

    Raises:
        WeightsError: If it cannot be had, or is no JSON object.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    with _asking(repo):
        try:
            size = get_hf_file_metadata(hf_hub_url(repo, "config.json", revision=revision)).size
            if size is None or size > CARD.max_bytes:
                raise WeightsError(f"the config.json of {repo} has {size} bytes")
            data = read_file(hf_hub_download(repo, "config.json", revision=revision), CARD)
        except EntryNotFoundError:
            return {}
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"the config.json of {repo} is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise WeightsError(f"the config.json of {repo} is no JSON object")
    return value


def license_of(repo: str, revision: str | None) -> str:
    """Return the licence that a repository's card states, empty if it states none.

    Raises:
        WeightsError: If the hub cannot be asked.
    """
    from huggingface_hub import HfApi

    with _asking(repo):
        tags = HfApi(endpoint=_endpoint_url()).model_info(repo, revision=revision).tags or []
    return next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), "")


def repositories_of(author: str) -> list[str]:
    """List the image classifiers of timm that an organisation has on the hub, by the hub's own listing.

    Raises:
        WeightsError: If the hub cannot be asked.
    """
    from huggingface_hub import HfApi

    with _asking(author):
        found = HfApi(endpoint=_endpoint_url()).list_models(author=author, filter=["image-classification", "timm"])
        return sorted({model.id for model in found if model.id.startswith(f"{author}/")})


def _endpoint_url() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """Whatever the hub's library raises over a question is that it cannot be answered."""
    from huggingface_hub.errors import EntryNotFoundError

    if is_offline():
        raise WeightsError(f"{endpoint()} may not be asked for {what}: HF_HUB_OFFLINE is set")
    try:
        yield
    except (WeightsError, EntryNotFoundError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        why = f"{type(error).__name__}: {lines[0]:.300}"
        raise WeightsError(f"{endpoint()} has no answer about {what} ({why})") from error
