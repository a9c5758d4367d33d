"""A report as one HTML file that needs nothing else: tables to sort and filter, figures to hover over, every run."""
