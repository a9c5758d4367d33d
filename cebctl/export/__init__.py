"""Handing metrics and results to other tools, through those tools' own libraries. One module for each format:
`write(matrix, runs, folder)` fills an empty folder. Nothing here asks the store."""
