"""What every probe must do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nns.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.searching.probes import Probe


def planted_features(signal: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Make features (90, 40) of three classes that lie ``signal`` standard deviations apart, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(90) % 3
    return signal * rng.standard_normal((3, 40))[labels] + rng.standard_normal((90, 40)), labels


class ProbeContract:
    """Tests of a probe. Subclass it and provide a fixture ``probe``."""

    @pytest.fixture
    def probe(self) -> Any:
        """Make the probe under test."""
        raise NotImplementedError("override the fixture `probe`")

    def test_it_has_a_name_and_a_title(self, probe: Probe) -> None:
        """Matrices and tables show them."""
        assert probe.name
        assert probe.title

    def test_better_features_score_higher(self, probe: Probe) -> None:
        """Classes further apart are told apart more easily."""
        values = [probe.score(*planted_features(signal)) for signal in (0.0, 0.5, 3.0)]
        assert values[0] < values[1] < values[2]
        if probe.is_accuracy:
            assert all(0 <= value <= 1 for value in values)

    def test_names_and_order_of_classes_and_images_do_not_count(self, probe: Probe) -> None:
        """Only which images share a class does."""
        features, labels = planted_features(0.7)
        order = np.random.default_rng(1).permutation(len(labels))
        renamed = np.array([17, 3, 99])[labels]
        assert probe.score(features[order], renamed[order]) == pytest.approx(probe.score(features, labels), rel=1e-9)

    @pytest.mark.parametrize(
        ("features", "labels"),
        [(np.zeros((4, 2)), np.zeros(4, int)), (np.zeros((2, 2)), np.arange(2)), (np.zeros((4, 2)), np.arange(3))],
        ids=["one class", "two images", "lengths that differ"],
    )
    def test_too_little_is_refused(
        self, probe: Probe, features: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> None:
        """It takes three images and two classes."""
        with pytest.raises(UsageError):
            probe.score(features, labels)

    def test_dead_features_give_a_number(self, probe: Probe) -> None:
        """A network may have dead channels, and an odd image may overflow."""
        features, labels = planted_features(1.0)
        features[:, 3] = 0.0
        features[0, 5] = np.nan
        assert np.isfinite(probe.score(features, labels))
        assert np.isfinite(probe.score(np.zeros((12, 4)), np.arange(12) % 2))

    def test_what_it_adds_follows_its_scores_and_is_nothing_on_average(self, probe: Probe) -> None:
        """A search adds the terms to the scores of the networks that were probed, beside those that were not."""
        scores = {signal: probe.score(*planted_features(signal)) for signal in (0.0, 0.5, 3.0)}
        terms = probe.terms(scores)
        assert terms[0.0] < terms[0.5] < terms[3.0]
        assert sum(terms.values()) == pytest.approx(0, abs=1e-9)
        assert probe.terms({}) == {}
