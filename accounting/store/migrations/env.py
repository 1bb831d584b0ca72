"""Alembic: runs the steps on the connection, in the transaction, that `accounting.store.schema` hands over."""

from alembic import context

from accounting.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
