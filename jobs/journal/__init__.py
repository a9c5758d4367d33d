"""Journals: append-only JSON lines, the record of what happened."""
