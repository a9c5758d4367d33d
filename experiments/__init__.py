"""Matrices, the strict spec of a run, expansion, identities, and the papers' published numbers."""
