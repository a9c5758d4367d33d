"""The train stage: the loop, its step, state and checkpoints."""
