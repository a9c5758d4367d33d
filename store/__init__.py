"""The store: a database of past runs, its ingest from the journals, and the queries.

`open_store` is the read-only interface for notebooks; `store.connect` opens a store to write.
"""

from store.notebook import open_store

__all__ = ["open_store"]
