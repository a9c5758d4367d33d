"""The export of metrics and results to other tools, by those tools' own libraries.

Each format is a module whose `write(matrix, runs, folder)` fills an empty folder. None of them opens the store.
"""
