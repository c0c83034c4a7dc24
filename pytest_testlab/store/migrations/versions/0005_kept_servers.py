"""What a lease says of its server: what it costs, where it is, and why it outlives its run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column(
        "lease", sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
    )
    op.add_column("lease", sa.Column("eur_per_hour", sa.Float(), nullable=True))
    for name in ("address", "kept", "test"):
        op.add_column("lease", sa.Column(name, sa.Text(), server_default="", nullable=False))
