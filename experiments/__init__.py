"""What to run: matrices, the strict spec, expansion, run identity and the papers' published numbers."""
