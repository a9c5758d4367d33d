"""Journals: append-only JSON lines, the only record of what jobs and submissions did."""
