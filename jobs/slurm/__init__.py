"""Slurm: arrays, queue, accounting, cluster."""
