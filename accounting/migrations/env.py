"""Alembic's entry: runs the steps on the connection, and in the transaction, that `accounting.schema` hands over."""

from alembic import context

from accounting.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
