"""YAML matrices: reading, expanding and selecting runs."""
