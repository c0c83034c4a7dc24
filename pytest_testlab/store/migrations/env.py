"""Runs the migrations on the connection that `pytest_testlab.store.migrate` hands over."""

from __future__ import annotations

from alembic import context

from pytest_testlab.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
