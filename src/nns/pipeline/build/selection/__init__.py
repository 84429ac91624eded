"""Choosing which pairs of dataset and architecture a build trains."""

from nns.pipeline.build.selection.choosing import AtRandom, ByGain, Chooser, InOrder, Pair, Rounds
from nns.pipeline.build.selection.volume import Volume

__all__ = ["AtRandom", "ByGain", "Chooser", "InOrder", "Pair", "Rounds", "Volume"]
