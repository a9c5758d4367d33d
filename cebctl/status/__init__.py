"""The state of runs, observed in the store, the journals and Slurm's queue."""
