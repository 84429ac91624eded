"""Choosing which pairs of dataset and architecture a build trains."""

from nns.building.selection.choosing import AtRandom, ByGain, Chooser, InOrder, Pair, Rounds
from nns.building.selection.volume import Volume

__all__ = ["AtRandom", "ByGain", "Chooser", "InOrder", "Pair", "Rounds", "Volume"]
