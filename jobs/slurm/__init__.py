"""Slurm: submission of job arrays, their tasks, queue, accounting and the cluster's limits."""
