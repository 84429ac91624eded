"""Scores of how well a frozen network's features tell the classes of labelled images apart, without training it."""

from nns.searching.probes.features import features_of
from nns.searching.probes.neighbours import knn_accuracy
from nns.searching.probes.ridge import ridge_accuracy
from nns.searching.probes.transferability import h_score, log_me

__all__ = ["features_of", "h_score", "knn_accuracy", "log_me", "ridge_accuracy"]
