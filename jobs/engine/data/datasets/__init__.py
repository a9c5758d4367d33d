"""Readers of the data sets, one each."""
