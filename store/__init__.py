"""What happened: the store, ingest of the journals into it, and the queries over it."""
