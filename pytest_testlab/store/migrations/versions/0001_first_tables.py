"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, their indices, and where pg_trgm is there the one for search by parts of words."""
    op.create_table(
        "headline",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="headline_pkey"),
        sa.UniqueConstraint("digest", name="headline_digest_key"),
    )
    op.create_index("headline_fingerprint_idx", "headline", ["fingerprint"], unique=False)
    op.create_index(
        "headline_words_idx",
        "headline",
        [sa.text("to_tsvector('simple'::regconfig, text)")],
        unique=False,
        postgresql_using="gin",
    )
    op.create_table(
        "lane",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="lane_pkey"),
        sa.UniqueConstraint("name", name="lane_name_key"),
    )
    op.create_table(
        "rule",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="rule_pkey"),
        sa.UniqueConstraint("name", name="rule_name_key"),
    )
    op.create_table(
        "suite",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="suite_pkey"),
        sa.UniqueConstraint("name", name="suite_name_key"),
    )
    op.create_table(
        "lane_test",
        sa.Column("lane_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("test_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last_run_id", sa.Integer(), nullable=False),
        sa.Column("last_status", sa.SmallInteger(), nullable=False),
        sa.Column("strip", sa.Text(), nullable=False),
        sa.Column("strip_runs", ARRAY(sa.Integer()), nullable=False),
        sa.Column("last_pass_run_id", sa.Integer(), nullable=True),
        sa.Column("streak_run_id", sa.Integer(), nullable=True),
        sa.Column("est_p50_ms", sa.Integer(), nullable=True),
        sa.Column("est_p90_ms", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["lane_id"], ["lane.id"], name="lane_test_lane_id_fkey"),
        sa.PrimaryKeyConstraint("lane_id", "test_id", name="lane_test_pkey"),
    )
    op.create_index("lane_test_test_id_idx", "lane_test", ["test_id"], unique=False)
    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("sha", sa.Text(), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("runner_version", sa.Text(), nullable=False),
        sa.Column("sources", JSONB(), nullable=False),
        sa.Column("arguments", JSONB(), nullable=False),
        sa.Column("pool", sa.Integer(), nullable=False),
        sa.Column("budget_s", sa.Float(), nullable=False),
        sa.Column("projected_s", sa.Float(), nullable=True),
        sa.Column("cost_eur", sa.Float(), nullable=True),
        sa.Column("planned", sa.Integer(), server_default="0", nullable=False),
        sa.Column("selection", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("say", sa.Text(), server_default="", nullable=False),
        sa.Column("exit_code", sa.SmallInteger(), nullable=True),
        sa.Column("phases", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.ForeignKeyConstraint(["lane_id"], ["lane.id"], name="run_lane_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="run_pkey"),
        sa.UniqueConstraint("name", name="run_name_key"),
    )
    op.create_index("run_lane_id_id_idx", "run", ["lane_id", "id"], unique=False)
    op.create_table(
        "test",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("suite_id", sa.Integer(), nullable=True),
        sa.Column("entry", sa.Text(), server_default="", nullable=False),
        sa.Column("stage", sa.Text(), server_default="", nullable=False),
        sa.Column("priority", sa.Text(), server_default="P1", nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("tags", JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("file", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["suite_id"], ["suite.id"], name="test_suite_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="test_pkey"),
        sa.UniqueConstraint("name", name="test_name_key"),
    )
    op.create_table(
        "bundle",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("test_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("manifest", JSONB(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="bundle_run_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "test_id", "attempt", name="bundle_pkey"),
    )
    op.create_table(
        "journal_segment",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("events_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bundles_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="journal_segment_run_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "segment", name="journal_segment_pkey"),
    )
    op.create_table(
        "result",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("test_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lane_id", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("headline_id", sa.Integer(), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("failure_class", sa.SmallInteger(), nullable=True),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="result_run_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "test_id", name="result_pkey"),
    )
    op.create_index(
        "result_test_id_lane_id_run_id_idx",
        "result",
        ["test_id", "lane_id", "run_id"],
        unique=False,
        postgresql_include=["status", "duration_ms"],
    )
    op.create_index(
        "result_trouble_idx",
        "result",
        ["lane_id", "run_id"],
        unique=False,
        postgresql_where=sa.text("status IN (2, 3, 6)"),
    )
    op.create_table(
        "result_attempt",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("test_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("failure_class", sa.SmallInteger(), nullable=True),
        sa.Column("rule_id", sa.Integer(), nullable=True),
        sa.Column("headline_id", sa.Integer(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("redacted", sa.Integer(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), nullable=True),
        sa.Column("retry_of", sa.SmallInteger(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column("phases", JSONB(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="result_attempt_run_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "test_id", "attempt", name="result_attempt_pkey"),
    )
    op.create_table(
        "run_count",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("suite_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("status", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("tests", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="run_count_run_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "suite_id", "status", name="run_count_pkey"),
    )
    op.create_table(
        "run_plan",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tests", ARRAY(sa.Integer()), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="run_plan_run_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name="run_plan_pkey"),
    )
    op.create_table(
        "run_target",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False),
        sa.Column("say", sa.Text(), server_default="", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("proof", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("test_id", sa.Integer(), nullable=True),
        sa.Column("test_attempt", sa.SmallInteger(), nullable=True),
        sa.Column("test_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="run_target_run_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "slot", name="run_target_pkey"),
    )
    op.execute("ALTER TABLE bundle ALTER COLUMN data SET STORAGE EXTERNAL")
    op.execute(
        """
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
                CREATE EXTENSION IF NOT EXISTS pg_trgm;
                CREATE INDEX IF NOT EXISTS headline_trigrams_idx ON headline USING gin (text gin_trgm_ops);
            END IF;
        END $$
        """
    )
