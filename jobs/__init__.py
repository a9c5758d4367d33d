"""How it runs: submission, the job entry point, run directories, journals, checkpoints and the engine."""
