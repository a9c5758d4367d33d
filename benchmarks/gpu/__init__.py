"""The check of a GPU: the engine on it against the engine on a CPU, and how fast it is. `make gpu-check`."""
