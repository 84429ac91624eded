"""The conformance suite of extractors.

An implementer derives from :class:`ExtractorContract` and supplies one fixture::

    class TestMyExtractor(ExtractorContract):
        @pytest.fixture
        def extractor(self):
            return MyExtractor()
"""

from __future__ import annotations

import numpy as np
import pytest

from nns.data.extractors import Extractor


class ExtractorContract:
    """What searches rely on; derive from it and supply the fixture ``extractor``."""

    @pytest.fixture
    def extractor(self) -> Extractor:
        """The extractor under test, freshly made."""
        raise NotImplementedError("supply a fixture named extractor")

    @pytest.fixture
    def images(self, extractor: Extractor) -> np.ndarray:
        """Five images of noise."""
        size = extractor.image_size
        return np.random.default_rng(0).integers(0, 256, (5, 3, size, size), dtype=np.uint8)

    def test_says_what_it_is(self, extractor: Extractor) -> None:
        """Name and sizes are known before any weights are read."""
        assert isinstance(extractor, Extractor)
        assert extractor.name
        assert extractor.feature_dim > 0
        assert extractor.image_size > 0

    def test_gives_a_row_of_finite_numbers_an_image(self, extractor: Extractor, images: np.ndarray) -> None:
        """Features are (n, feature_dim) float32, and not the same for all images."""
        features = extractor.extract(images)
        assert features.shape == (len(images), extractor.feature_dim)
        assert features.dtype == np.float32
        assert np.isfinite(features).all()
        assert np.ptp(features, axis=0).max() > 0

    def test_an_image_has_its_features_whatever_is_beside_it(self, extractor: Extractor, images: np.ndarray) -> None:
        """A frozen network in eval mode: neither the batch nor an earlier call changes a row."""
        together = extractor.extract(images)
        alone = np.concatenate([extractor.extract(images[i : i + 1]) for i in range(len(images))])
        np.testing.assert_allclose(alone, together, rtol=1e-3, atol=1e-3 * np.abs(together).max())
        assert np.array_equal(extractor.extract(images), together)

    def test_no_image_gives_no_row(self, extractor: Extractor, images: np.ndarray) -> None:
        """An empty array has the right width."""
        assert extractor.extract(images[:0]).shape == (0, extractor.feature_dim)

    def test_tells_how_far_it_is(self, extractor: Extractor, images: np.ndarray) -> None:
        """The progress ends at the number of images."""
        steps: list[tuple[int, int]] = []
        extractor.extract(images, lambda done, total: steps.append((done, total)))
        assert steps[-1] == (len(images), len(images))
        assert steps == sorted(steps)
