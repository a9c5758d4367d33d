"""One module per command: it parses its arguments, calls the package of its subject and hands the result to a view.

Heavy imports stand inside the functions, so that help and completion start at once.
"""
