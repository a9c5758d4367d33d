"""Checks of a home, an installation and a cluster, and of what a matrix requests of it."""
