"""One attempt at a stage, and the lease under which it runs."""
