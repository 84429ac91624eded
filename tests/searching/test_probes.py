"""Scores against plain definitions, and on features that do or do not tell the classes apart."""

import numpy as np
import pytest

from nns import load_plugins
from nns.searching.probes import builtin_probes, make_probe
from nns.searching.probes.hscore import h_score
from nns.searching.probes.knn import knn_accuracy
from nns.searching.probes.logme import log_me
from nns.searching.probes.ridge import ridge_accuracy
from nns.testing import ProbeContract


class TestBuiltinProbes(ProbeContract):
    @pytest.fixture(params=sorted(builtin_probes()))
    def probe(self, request):
        return make_probe(load_plugins(), request.param)


def planted(signal, n=90, d=40, classes=3):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    centres = rng.standard_normal((classes, d))
    return signal * centres[labels] + rng.standard_normal((n, d)), labels


def test_log_me_is_the_maximum_of_the_evidence():
    features, labels = planted(0.6, n=30, d=5, classes=2)

    def evidence(alpha, beta, y):
        n, d = features.shape
        a = alpha * np.eye(d) + beta * features.T @ features
        m = beta * np.linalg.solve(a, features.T @ y)
        return 0.5 * (
            d * np.log(alpha)
            + n * np.log(beta)
            - beta * ((features @ m - y) ** 2).sum()
            - alpha * m @ m
            - np.linalg.slogdet(a)[1]
            - n * np.log(2 * np.pi)
        )

    grid = np.logspace(-3, 3, 241)
    best = [max(evidence(a, b, (labels == k) * 1.0) for a in grid for b in grid[80:200]) for k in (0, 1)]
    assert log_me(features, labels) == pytest.approx(np.mean(best) / 30, abs=2e-3)


def test_h_score_by_its_definition():
    from sklearn.covariance import ledoit_wolf

    features, labels = planted(0.6, n=60, d=8)
    covariance, shrinkage = ledoit_wolf(features)
    means = np.array([features[labels == k].mean(axis=0) for k in labels]) - features.mean(axis=0)
    between = (1 - shrinkage) * means.T @ means / len(labels)
    assert h_score(features, labels) == pytest.approx(np.trace(np.linalg.solve(covariance, between)), rel=1e-9)


def test_ridge_leaves_each_image_out():
    features, labels = planted(0.4, n=24, d=6, classes=2)
    rows = (features - features.mean(0)) / features.std(0)
    targets = np.eye(2)[labels]
    best = (np.inf, 0.0)
    gram_mean = np.trace(rows @ rows.T) / 24
    for power in range(-4, 4):
        hits, error = 0, 0.0
        for i in range(24):
            keep = np.arange(24) != i
            x = np.column_stack([np.ones(23), rows[keep]])
            penalty = 10.0**power * gram_mean * np.diag([0.0] + [1.0] * 6)
            w = np.linalg.solve(x.T @ x + penalty, x.T @ targets[keep])
            predicted = np.append(1.0, rows[i]) @ w
            error += ((predicted - targets[i]) ** 2).sum()
            with_it = targets.mean(0) - targets[keep].mean(0)
            hits += (predicted + with_it).argmax() == labels[i]
        best = min(best, (error, hits / 24))
    assert ridge_accuracy(features, labels) == pytest.approx(best[1])


def test_ridge_on_noise_is_chance():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 50)
    found = [ridge_accuracy(rng.normal(size=(100, 8)), labels) for _ in range(20)]
    assert 0.4 < np.mean(found) < 0.6


def test_ridge_on_constants_is_the_commonest_class():
    assert ridge_accuracy(np.ones((10, 3)), np.array([1, 0] + [1] * 8)) == pytest.approx(0.9)


def test_knn_by_hand():
    features = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 0.3]])
    assert knn_accuracy(features, np.array([0, 0, 1, 1, 1]), neighbours=1) == pytest.approx(0.8)
