"""Differences between runs and between families of runs, with intervals."""
