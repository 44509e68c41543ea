"""Run by Alembic: migrates over the connection it is given, inside the caller's transaction."""

from alembic import context

from gateway_svc.proposal_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
