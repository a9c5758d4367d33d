"""The execution of runs: executors, attempts, journals, checkpoints, data sets and the engine."""
