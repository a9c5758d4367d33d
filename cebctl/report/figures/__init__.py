"""Figures: what each shows as plain values, made from a report, then drawn by matplotlib or by the page."""
