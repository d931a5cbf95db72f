"""What Alembic runs: the migrations, inside the transaction of `engine.open_state`, which also holds the lock."""

from __future__ import annotations

from alembic import context

from activation_dagster.state.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()
