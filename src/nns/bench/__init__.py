"""Measuring how well networks are chosen: a matrix of fine-tunings, and methods and baselines scored on it."""
