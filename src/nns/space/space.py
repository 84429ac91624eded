"""A fitted method with what it rests on: loaded from a zoo or fitted to one, it scores networks for a dataset."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.errors import UnknownNameError, UsageError, ZooError
from nns.plugins import install_hint
from nns.space._blocks import fingerprint_blocks
from nns.space._data import SpaceData
from nns.space._own_results import with_own_results
from nns.space._scanning import score_rows
from nns.threads import limited_threads, threads_wanted
from nns.types import DatasetRecord, SpaceRecord

_log = logging.getLogger("nns")

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.history import FineTuning
    from nns.priors import Facts
    from nns.space._base import SpaceMethod
    from nns.zoo import Zoo

DEFAULT_METHOD = "mixed"
MIN_DATASETS_HELD_OUT = 3


@dataclass(frozen=True, eq=False)
class ScoreDetails:
    """What is shown of n networks beside their scores; each (n,).

    Attributes:
        similarity: Cosine of dataset and network in the space.
        prior: Accuracy expected whatever the dataset, 0..1.
        predicted: Accuracy predicted for the dataset, 0..1.
        terms: The parts of the score, by name, each (n,).
        margin: Half-width of the 80 % interval of ``predicted``, from held-out errors; None if unknown.
    """

    similarity: NDArray[np.float32]
    prior: NDArray[np.float32]
    predicted: NDArray[np.float32]
    terms: Mapping[str, NDArray[np.float32]]
    margin: float | None


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of n networks for one dataset, and what is behind those of a few.

    Everything but the score takes another pass over all embeddings, and is shown of some ten networks. So it is
    computed of those that are asked for, by their place among the n.

    Attributes:
        score: What the ranking is by, (n,).
    """

    score: NDArray[np.float32]
    _space: Space
    _query: NDArray[np.float32]
    _rows: NDArray[np.int64]

    def details(self, places: Sequence[int]) -> ScoreDetails:
        """Compute the rest for some of the networks.

        Raises:
            ZooError: If the method can do nothing with what the zoo holds.
        """
        with _usable(self._space.name):
            method, query, networks = self._space.method, self._query, self._embeddings(places)
            return ScoreDetails(
                method.similarity(query, networks),
                method.prior(networks),
                method.predict_accuracy(query, networks),
                method.terms(query, networks),
                self._space.margin("interval80"),
            )

    def static(self) -> int:
        """Return the place of the network of the highest prior: what a ranking blind to the dataset would give."""
        with _usable(self._space.name):
            return self._space.method.best_prior(self._space.embeddings, self._rows)

    def residuals(self, places: Sequence[int]) -> NDArray[np.float32]:
        """Return what the scores of some of the networks missed on d known datasets, (d, n), in logits.

        NaN where a network has no result. As many numbers as all scores together, so it is asked for few networks.

        Raises:
            ZooError: If the method can do nothing with what the zoo holds.
        """
        with _usable(self._space.name):
            return self._space.method.residuals(self._embeddings(places))

    def _embeddings(self, places: Sequence[int]) -> NDArray[np.float32]:
        return self._space.embeddings[self._rows[np.asarray(places, np.int64)]]


@dataclass(frozen=True, eq=False)
class Space:
    """A fitted space of a zoo.

    Attributes:
        record: The space as it is stored: name, method, settings, numbers, and the report of the fit.
        method: The fitted method.
        embeddings: (n, dim) float32, of every network of the zoo in the order of its ids; NaN for those without a
            fingerprint, unless the method goes by facts.
    """

    record: SpaceRecord
    method: SpaceMethod
    embeddings: NDArray[np.float32]

    @classmethod
    def load(cls, zoo: Zoo, name: str | None = None) -> Space:
        """Load a space; networks that were added since its fit are embedded by one forward pass each.

        Args:
            zoo: The zoo.
            name: Name of the space; None: the default method's, else the first.

        Raises:
            UsageError: If the zoo has no fitted space.
            UnknownNameError: If there is none of that name, or its method is not installed.
            ZooError: If the method can do nothing with what the zoo holds.
        """
        record = cls.read(zoo, name)
        return cls.of(zoo, record, cls.make_method(zoo, record))

    @staticmethod
    def read(zoo: Zoo, name: str | None = None) -> SpaceRecord:
        """Read what is stored of a space: the first step of :meth:`load`."""
        return zoo.store.space(_choose(zoo, name))

    @staticmethod
    def make_method(zoo: Zoo, record: SpaceRecord) -> SpaceMethod:
        """Make the method of a space, not yet fitted; the first of its kind imports the libraries that it needs."""
        with _usable(record.name):
            if record.method not in zoo.registry.names("method"):
                hint = install_hint(record.report.get("method_from"))
                raise UnknownNameError(
                    f"space {record.name!r:.80} is of method {record.method!r:.80}, which is not installed{hint}"
                    f"{zoo.registry.failed()}"
                )
            method: SpaceMethod = zoo.registry.make("method", record.method, **record.settings)
            return method

    @classmethod
    def of(cls, zoo: Zoo, record: SpaceRecord, method: SpaceMethod) -> Space:
        """Make the space of a method, its fitted numbers and an embedding of every network: the last step of `load`."""
        with _usable(record.name):
            method.load_tensors(record.tensors)
            return cls(record, method, _embeddings(zoo, record, method))

    @classmethod
    def at_large(cls, zoo: Zoo) -> Space:
        """Return what stands in for a space where none is fitted: what is known of networks at large."""
        from nns.space.at_large import AT_LARGE, AtLarge, qualities

        embeddings = qualities(zoo)
        record = SpaceRecord(AT_LARGE, AT_LARGE, {}, b"", zoo.store.ids(), embeddings, {})
        return cls(record, AtLarge(), embeddings)

    @property
    def is_fitted(self) -> bool:
        """Whether it was fitted to the zoo."""
        return bool(self.record.tensors)

    @cached_property
    def scored(self) -> NDArray[np.bool_]:
        """Return which networks of the zoo it can score, (n,)."""
        return np.asarray(np.isfinite(self.embeddings[:, -1]))

    @classmethod
    def fit(
        cls,
        zoo: Zoo,
        method: str = DEFAULT_METHOD,
        epochs: int | None = None,
        seed: int = 0,
        held_out: bool = True,
        history: Sequence[FineTuning] = (),
        keep: bool = True,
    ) -> Space:
        """Fit a space, measure it on held-out datasets, and write it into the zoo under the method's name.

        Args:
            zoo: The zoo.
            method: Registered name of the method.
            epochs: Steps of training; None: the method's own choice.
            seed: Of everything random.
            held_out: Whether to measure it on held-out datasets, too, which takes several fits more.
            history: Fine-tunings of the zoo's networks that join its transfers for the fit.
            keep: Whether it is written into the zoo.

        Raises:
            UnknownNameError: If there is no such method.
            UsageError: If the zoo has fewer than two datasets with networks, or lacks what the method reads.
        """
        with limited_threads(threads_wanted()):  # thousands of steps of a few microseconds each
            record = _fitted(zoo, method, epochs, seed, held_out, history)
        if not keep:
            return cls.of(zoo, record, cls.make_method(zoo, record))
        zoo.store.put_space(record)
        try:
            zoo.store.merge()  # it needs room for the datasets of its own: what was fitted on is gone by now
        except ZooError as error:  # the space counts all the same: it is in the journal
            _log.warning("the space is in the journal of the zoo, and stays there for now: %s", error)
        return cls.load(zoo, method)

    @property
    def name(self) -> str:
        """Name under which the zoo has it."""
        return self.record.name

    @property
    def report(self) -> Mapping[str, Any]:
        """What the fit came to: ``seconds``, ``networks``, ``datasets``, ``own_results``, ``held_out``."""
        return self.record.report

    def score(self, query: DatasetRecord, rows: NDArray[np.int64]) -> Scores:
        """Score the networks at ``rows`` for a dataset.

        Raises:
            ZooError: If the method can do nothing with what the zoo holds.
        """
        with _usable(self.name):
            embedding = self.method.embed_query(query.features, query.labels)
            return Scores(score_rows(self.method, embedding, self.embeddings, rows), self, embedding, rows)

    def margin(self, name: str) -> float | None:
        """Return the half-width of an 80 % interval, from held-out errors; None if unknown.

        Args:
            name: ``"interval80"``, of a predicted accuracy, or ``"gain80"``, of a predicted difference of two networks
                on one dataset.
        """
        value = self.report.get(name)
        # of a zoo from elsewhere it may be anything, and then nothing is known
        return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None


def accuracy_report(data: SpaceData, evaluated: Mapping[str, Any]) -> Mapping[str, float]:
    """Pick how far off a held-out evaluation finds predictions: on transfers where there are enough, else own pairs.

    Args:
        data: What was evaluated on.
        evaluated: The report of :func:`nns.space.evaluate_held_out`.
    """
    enough = evaluated["transfer"] and data.enough_transfers
    found: Mapping[str, float] = evaluated["transfer" if enough else "accuracy"]
    return found


def _choose(zoo: Zoo, name: str | None) -> str:
    names = list(zoo.spaces())
    if not names:
        raise UsageError(f"the zoo has no fitted space; run `nns space fit {zoo.path}` first")
    if name is None:
        return DEFAULT_METHOD if DEFAULT_METHOD in names else names[0]
    if name not in names:
        raise UnknownNameError.among("space", name, names)
    return name


def _embeddings(zoo: Zoo, record: SpaceRecord, method: SpaceMethod) -> NDArray[np.float32]:
    embeddings = np.asarray(record.embeddings)
    # the rule is that they are the same: two columns, of which no strings are made
    if zoo.store.ids() == record.network_ids:
        return embeddings
    ids = zoo.store.ids()
    known = {network: row for row, network in enumerate(record.network_ids)}
    rows = np.array([known.get(network, -1) for network in ids], dtype=np.int64)
    # a place more, so that a space of no network can be indexed; -1 is that place
    embeddings = np.concatenate([embeddings, np.full((1, embeddings.shape[1]), np.nan, np.float32)])[rows]
    has = zoo.store.columns().fingerprinted
    embeddings[~has] = np.nan
    new = np.flatnonzero((rows < 0) & has)
    if len(new):
        embeddings[new] = method.embed_networks(fingerprint_blocks(zoo, new))
    foreign = np.flatnonzero((rows < 0) | ~has)
    if len(foreign):
        embeddings[foreign] = method.add_facts(embeddings[foreign], _facts(zoo, foreign))
    return embeddings


MANY = 8
"""Times as quick a description is read for its facts alone, of all networks one after another, as an entry."""


def _facts(zoo: Zoo, rows: NDArray[np.int64]) -> list[Facts]:
    """Read the facts of networks: of few from their entries, of many by a pass over the descriptions of all."""
    from nns.priors import Facts

    if MANY * len(rows) < len(zoo):
        return [Facts.of(entry) for entry in zoo.store.entries(rows.tolist())]
    facts = zoo.store.describe(lambda some: np.array([Facts.of(each) for each in some], object))
    return list(facts[rows])


def _fitted(
    zoo: Zoo, name: str, epochs: int | None, seed: int, held_out: bool, history: Sequence[FineTuning]
) -> SpaceRecord:
    from nns.space._held_out import evaluate_held_out

    settings: dict[str, Any] = {"seed": seed} if epochs is None else {"seed": seed, "epochs": epochs}
    method = zoo.registry.make("method", name, **settings)
    data, joined = with_own_results(SpaceData.of(zoo), zoo, history)
    zoo.store.close()  # all that it has read is in data: a fit need not hold it twice
    started = time.perf_counter()
    method.fit(data)
    seconds = time.perf_counter() - started
    report: dict[str, Any] = {"seconds": round(seconds, 3), "networks": len(data.network_ids)}
    report["datasets"], report["own_results"] = len(data.dataset_names), joined
    report["method_from"] = zoo.registry.origin("method", name)
    if held_out and len(data.paired_datasets()) >= MIN_DATASETS_HELD_OUT:
        evaluated = evaluate_held_out(lambda: zoo.registry.make("method", name, **settings), data, seed=seed)
        report["held_out"] = evaluated
        known = accuracy_report(data, evaluated)
        report["interval80"] = known["error80"]
        report["gain80"] = known.get("gain80")
    return SpaceRecord(
        name=name,
        method=name,
        settings=method.settings(),
        tensors=method.to_tensors(),
        network_ids=data.network_ids,
        embeddings=method.embed_zoo(data),
        report=report,
    )


@contextmanager
def _usable(name: str) -> Iterator[None]:
    """Whatever a method raises over settings and tensors of a stranger's zoo is a defect of that zoo."""
    try:
        yield
    except (UnknownNameError, ZooError):
        raise
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ZooError(f"space {name!r} of the zoo cannot be used ({what}); fit it again") from error
