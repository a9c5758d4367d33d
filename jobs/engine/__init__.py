"""The engine: trains and evaluates one run. The only code that imports torch."""
