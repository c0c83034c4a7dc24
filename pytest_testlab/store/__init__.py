"""The store: schema, migrations, reads, embedded PostgreSQL."""
