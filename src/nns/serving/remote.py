"""A search that a server does: features or small copies of images go there, an answer as of a zoo here comes back."""

from __future__ import annotations

import base64
import io
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.data import QUERY_IMAGES, Dataset, Seen
from nns.data.extractors import make_extractor
from nns.errors import ServerError, UnknownNameError, UsageError
from nns.history import OwnResults
from nns.networks import WeightsPlace
from nns.networks.hub import is_offline
from nns.networks.origins import missing_backend
from nns.plugins import installed_plugins
from nns.quantities import counted
from nns.searching.neighbours import Neighbour, Neighbourhood
from nns.searching.results import Candidate, Gain, QueryDataset, SearchResult, SearchSeconds
from nns.searching.together import POOL
from nns.serving.client import Server, as_json, multipart
from nns.serving.documents import MAX_TOP, MAX_TRIES, Answer, AnsweredCandidate
from nns.space.at_large import AT_LARGE
from nns.types import ArchitectureSpec, Limits, NetworkCost, NetworkEntry, Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.types import Progress

_log = logging.getLogger("nns")

MOST = 2**62
SENT = ("features", "images")


def search_server(
    data: Any,
    server: Server,
    limits: Limits,
    *,
    send: str = "features",
    top: int = 10,
    classes: int | None = None,
    images: int = QUERY_IMAGES,
    tries: int = 3,
    seed: int = 0,
    offline: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
    on_data: Callable[[Seen], None] | None = None,
) -> SearchResult:
    """Let a server rank the networks of its zoo for a dataset that stays here.

    Args:
        data: As for :func:`nns.search`.
        server: The server.
        limits: Hard limits, but for latency: that of the server says nothing.
        send: ``"features"`` of a sample of the images, or the sampled ``"images"`` themselves, cut and shrunk to what
            the server's extractor sees, without names and metadata.
        top: Candidates to give.
        classes: Classes of the head that limits count, where the data does not say.
        images: Images to look at, at most.
        tries: Networks to choose for being fine-tuned together.
        seed: Of the sample of images.
        offline: Refuse to connect.
        progress: Called as things go on.
        tell: Called with what a person should know before anything is sent; None: that goes into the log.
        on_data: Called with what is seen in the data.

    Raises:
        ServerError: If there is no answer that can be believed, or nothing may connect.
        DatasetError: If the data cannot be read.
        NoNetworkError: If no network meets the limits.
        UsageError: If an argument is wrong.
    """
    if send not in SENT:
        raise UsageError(f"`send` must be features or images, not {send!r:.80}")
    if limits.max_latency is not None:
        raise UsageError("a server cannot measure what takes how long on this machine; leave `max_latency` out")
    for name, value in {"top": top, "images": images, "tries": tries}.items():
        if value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")
    for name, value, most in (("top", top, MAX_TOP), ("tries", tries, MAX_TRIES)):
        if value > most:
            raise UsageError(f"{name} must be at most {most} where a server is asked, not {value}")
    if offline or is_offline():
        raise ServerError("nothing may connect (offline), so no server can be asked")
    dataset = Dataset.of(data, require_labels=False)
    if dataset is not data:
        (on_data or Seen.log)(dataset.seen)
    say = tell or _log.warning
    if server.is_exposed:
        say(f"warning: http to {server.host} is not encrypted: others can read and change what is sent and answered")
    about = server.zoo()
    wishes = {
        **{name: _bounded(getattr(limits, name)) for name in ("max_params", "max_macs", "max_size")},
        "backend": limits.backend,
        "license": limits.license,
        # those to fine-tune together are among them, and described
        "top": max(top, POOL, tries),
        "tries": tries,
        "classes": len(dataset.classes) or classes,
    }
    if send == "images":
        size, said = about.image_size, f"of {about.image_size} x {about.image_size} pixels to"
        pixels, kept, _ = dataset.decode_sample(
            size, limit=images, seed=seed, progress=_part(progress, "reading images")
        )
        body, kind = multipart([_png(each) for each in pixels], _labels(dataset, kept))
        say(f"sending {counted(len(pixels), 'image')} {said} {server.host} ({len(body) / 1e6:.1f} MB)")
    else:
        body, kind = _question(dataset, about.extractor, about.feature_dim, images, seed, progress), "application/json"
    unread = dataset.unreadable(progress=_part(progress, "checking images"))
    searched = QueryDataset(
        path=dataset.path,
        classes=len(dataset.classes) if dataset.labelled else None,
        images=len(dataset),
        skipped=tuple((item.path, item.reason) for item in unread),
        digest=dataset.digest,
        seen=dataset.seen_decoded,
    )
    return result_of(server.search(send, wishes, body, kind), searched, limits, server, top)


def result_of(answer: Answer, dataset: QueryDataset, limits: Limits, server: Server, top: int) -> SearchResult:
    """Make the result of an answer; what it says of dataset and limits is known better here.

    Raises:
        ServerError: If it does not hang together.
    """
    candidates = [_candidate(each, server) for each in answer.candidates]
    static, by_id = _candidate(answer.static_choice, server), {each.entry.id: each for each in candidates}
    by_id.setdefault(static.entry.id, static)
    together = [by_id.get(each) for each in answer.together]
    if [each.rank for each in candidates] != list(range(1, len(candidates) + 1)) or None in together:
        raise ServerError(f"{server.host} answers what does not hang together")
    nearest = tuple(
        Neighbour(each.dataset, each.distance, each.winner or "", math.nan if each.accuracy is None else each.accuracy)
        for each in answer.neighbours
    )
    return SearchResult(
        dataset=dataset,
        zoo_path=f"{server.url.rstrip('/')}/{answer.zoo.path}",
        zoo_digest=answer.zoo.digest,
        zoo_networks=answer.zoo.networks,
        space=answer.space,
        limits=limits,
        feasible=answer.feasible,
        candidates=tuple(candidates[:top]),
        static_choice=static,
        seconds=SearchSeconds(answer.seconds.features, answer.seconds.score, answer.seconds.total),
        neighbourhood=Neighbourhood(nearest, math.nan, answer.far),
        gain=Gain(answer.expected_gain.points, answer.expected_gain.interval),
        together=tuple(each for each in together if each is not None),
        own=OwnResults(np.zeros(0)),
        unscored=answer.unscored,
        rests_on="by what is known of networks at large" if answer.space == AT_LARGE else "",
    )


def _candidate(said: AnsweredCandidate, server: Server) -> Candidate:
    entry = NetworkEntry(
        id=said.id,
        spec=ArchitectureSpec(said.backend, said.architecture),
        cost=NetworkCost(said.params, said.macs, said.bytes, 0),
        preprocessing=Preprocessing(1),
        classes=(),
        source_dataset=said.source_dataset,
        source_digest="",
        accuracy=math.nan,
        license=said.license,
    )
    # wherever the server has them, they are not on this disk
    at = said.weights
    place = None if at is None else WeightsPlace(at.where, at.bytes, False, server.host)
    return Candidate(
        rank=said.rank,
        entry=entry,
        params=said.params,
        macs=said.macs,
        bytes=said.bytes,
        latency=None,
        score=said.score,
        similarity=said.similarity,
        prior=said.prior,
        predicted_accuracy=said.predicted_accuracy,
        interval=said.interval,
        terms=said.terms,
        weights=place,
        needs=missing_backend(entry, installed_plugins()),
    )


def _question(dataset: Dataset, extractor: str, width: int, images: int, seed: int, progress: Progress | None) -> bytes:
    try:
        made = make_extractor(extractor)
    except UnknownNameError:
        raise ServerError(
            f"the server wants features of {extractor!r:.80}, which is not installed here; `send=images` sends small "
            "copies of the images instead"
        ) from None
    if made.feature_dim != width:
        raise ServerError(f"{extractor!r:.80} makes {made.feature_dim} numbers an image here, {width} at the server")
    record = dataset.features(made, images=images, seed=seed, progress=progress)
    features = np.ascontiguousarray(record.features, "<f4")
    return as_json(
        {
            "extractor": extractor,
            "features": {"shape": features.shape, "data": base64.b64encode(features.tobytes()).decode()},
            "labels": record.labels.tolist() if dataset.labelled else None,
            "classes": len(dataset.classes) or None,
            "images": len(dataset),
            "digest": dataset.digest,
        }
    )


def _bounded(limit: int | None) -> int | None:
    """Write no number of a hundred digits: nothing has so many parameters."""
    return None if limit is None else min(limit, MOST)


def _labels(dataset: Dataset, kept: NDArray[np.int64]) -> list[str]:
    """Number the classes, in their order as text: their names stay here."""
    return [f"{label:06}" for label in dataset.labels[kept].tolist()] if dataset.labelled else []


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "PNG")
    return file.getvalue()


def _part(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(what, done, total)
