"""The evaluate stage: test sets, results and their resumption."""
