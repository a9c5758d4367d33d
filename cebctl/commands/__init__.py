"""One module per command: it parses its arguments, calls the package of its subject and hands the result to a view."""
