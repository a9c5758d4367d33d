"""The local executor: workers on this machine."""
