"""The footnotes of a report."""
