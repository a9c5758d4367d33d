"""The schema's history, applied by `store.migrations.apply`; there is no alembic.ini."""
