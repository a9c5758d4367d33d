"""A first matrix for a user's own images."""
