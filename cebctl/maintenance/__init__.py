"""Changes to a home beside its runs: freed checkpoints, imported weights."""
