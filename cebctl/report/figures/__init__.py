"""Figures: made from a report as plain values, then turned into the charts that the page and the files show."""
