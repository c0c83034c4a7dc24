"""Which runs were one session: on several images, each has a run of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and find its few rows by an index."""
    op.add_column("run", sa.Column("session", sa.Text(), nullable=True))
    op.create_index("run_session_idx", "run", ["session"], postgresql_where=sa.text("session IS NOT NULL"))
