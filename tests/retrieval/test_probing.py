"""The probe's part of the score, and searches with it."""

import math

import numpy as np
import pytest

from nns.retrieval.probing import PROBE_WEIGHT, probe_terms
from nns.retrieval.searching import _moved


def test_terms_are_centred_logits():
    terms = probe_terms({"a": 0.5, "b": 0.9, "c": 1.0})
    assert sum(terms.values()) == pytest.approx(0, abs=1e-12)
    assert terms["b"] - terms["a"] == pytest.approx(PROBE_WEIGHT * math.log(9))
    assert np.isfinite(terms["c"]) and terms["c"] > terms["b"]
    assert probe_terms({}) == {}


def test_moving_an_accuracy_by_logits():
    assert _moved(0.5, math.log(3)) == pytest.approx(0.75)
    assert _moved(0.37, 0.0) == 0.37
    assert 0 < _moved(0.0, 2.0) < 0.01
