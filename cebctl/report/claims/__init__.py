"""The verdict on each claim of a matrix, by the rule that it states."""
