"""One module per command: it parses, calls the control or the report, and hands the answer to a renderer."""
