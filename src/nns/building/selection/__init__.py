"""Choosing which pairs of dataset and architecture a build trains."""

from nns.building.selection.choosing import AtRandom, ByGain, InOrder, Pair, PairSelector, Rounds
from nns.building.selection.volume import Volume

__all__ = ["AtRandom", "ByGain", "InOrder", "Pair", "PairSelector", "Rounds", "Volume"]
