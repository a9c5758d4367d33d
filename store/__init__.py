"""What happened: the store, ingest of the journals into it, and the queries over it.

`open_store` is for notebooks; whoever writes to a store opens it by `store.connect`.
"""

from store.notebook import open_store

__all__ = ["open_store"]
