"""What the user types and sees."""

__version__ = "0.1.0"
