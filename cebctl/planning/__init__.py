"""What a matrix would submit and what it would cost."""
