"""A report as a terminal table, Markdown, CSV, JSON and LaTeX."""
