"""The tables of the store: narrow integer rows, about 140 bytes a result with its indices.

`result` holds one folded row for each test of a run, `result_attempt` every attempt, `bundle` what was collected.
`run_count` and `lane_test` are caches, rebuilt from `result` whenever a run is closed.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    }
)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, sa.Identity(), primary_key=True)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _int(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=nullable)


def _small(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.SmallInteger, nullable=nullable)


def _json(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, JSONB(none_as_null=True), nullable=nullable)


# Rows that are written by the thousand refer to their run only: it takes them along when it goes. Their other numbers
# come from the same transaction, and checking each of them would double what a result costs.
def _run() -> sa.Column[int]:
    return sa.Column(
        "run_id", sa.Integer, sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )


def _test() -> sa.Column[int]:
    return sa.Column("test_id", sa.Integer, primary_key=True, autoincrement=False)


lane = sa.Table(
    "lane",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _text("mode"),
    _text("branch"),
    _text("platform"),
    _text("provider"),
    _text("image"),
)

suite = sa.Table("suite", metadata, _id(), sa.Column("name", sa.Text, nullable=False, unique=True))

rule = sa.Table("rule", metadata, _id(), sa.Column("name", sa.Text, nullable=False, unique=True))

# What a test is besides its name comes with the plan; the name alone may come first, with a result.
test = sa.Table(
    "test",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("suite_id", sa.Integer, sa.ForeignKey("suite.id"), nullable=True),
    sa.Column("entry", sa.Text, nullable=False, server_default=""),
    sa.Column("stage", sa.Text, nullable=False, server_default=""),
    sa.Column("priority", sa.Text, nullable=False, server_default="P1"),
    _text("owner", nullable=True),
    sa.Column("tags", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
    sa.Column("file", sa.Text, nullable=False, server_default=""),
)

# `id` is the second at which the run started, counted from 2020, or the next one free: rows sort by time by
# themselves, whatever the order in which runs reach the store.
run = sa.Table(
    "run",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("lane_id", sa.Integer, sa.ForeignKey("lane.id"), nullable=False),
    _text("trigger"),
    _text("actor"),
    _text("sha"),
    sa.Column("dirty", sa.Boolean, nullable=False),
    _text("runner_version"),
    _json("sources"),
    _json("arguments"),
    _int("pool"),
    sa.Column("budget_s", sa.Float, nullable=False),
    sa.Column("projected_s", sa.Float, nullable=True),
    sa.Column("cost_eur", sa.Float, nullable=True),
    sa.Column("planned", sa.Integer, nullable=False, server_default="0"),
    _text("selection", nullable=True),
    _text("session", nullable=True),
    _moment("started_at"),
    _moment("finished_at", nullable=True),
    sa.Column("state", sa.Text, nullable=False, server_default="running"),
    sa.Column("say", sa.Text, nullable=False, server_default=""),
    _small("exit_code", nullable=True),
    sa.Column("phases", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Index("run_lane_id_id_idx", "lane_id", "id"),
    sa.Index("run_session_idx", "session", postgresql_where=sa.text("session IS NOT NULL")),
)

run_plan = sa.Table("run_plan", metadata, _run(), sa.Column("tests", ARRAY(sa.Integer), nullable=False))

# Besides what the target last said of itself, the test last started on it: with that, a start needs no row of its own.
run_target = sa.Table(
    "run_target",
    metadata,
    _run(),
    sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False, server_default=""),
    sa.Column("state", sa.Text, nullable=False, server_default="ready"),
    sa.Column("say", sa.Text, nullable=False, server_default=""),
    _moment("at", nullable=True),
    sa.Column("proof", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    _int("test_id", nullable=True),
    _small("test_attempt", nullable=True),
    _moment("test_at", nullable=True),
)

headline = sa.Table(
    "headline",
    metadata,
    _id(),
    sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    _text("text"),
    sa.Index("headline_fingerprint_idx", "fingerprint"),
    sa.Index("headline_words_idx", sa.text("to_tsvector('simple'::regconfig, text)"), postgresql_using="gin"),
)


result = sa.Table(
    "result",
    metadata,
    _run(),
    _test(),
    _int("lane_id"),
    _int("duration_ms", nullable=True),
    _int("headline_id", nullable=True),
    _small("status"),
    _small("failure_class", nullable=True),
    _small("attempt"),
    sa.Index(
        "result_test_id_lane_id_run_id_idx",
        "test_id",
        "lane_id",
        "run_id",
        postgresql_include=["status", "duration_ms"],
    ),
    sa.Index("result_trouble_idx", "lane_id", "run_id", postgresql_where=sa.text("status IN (2, 3, 6)")),
)

result_attempt = sa.Table(
    "result_attempt",
    metadata,
    _run(),
    _test(),
    sa.Column("attempt", sa.SmallInteger, primary_key=True, autoincrement=False),
    _small("status"),
    _small("failure_class", nullable=True),
    _int("rule_id", nullable=True),
    _int("headline_id", nullable=True),
    _int("duration_ms", nullable=True),
    _int("redacted"),
    _small("slot", nullable=True),
    _small("retry_of", nullable=True),
    _moment("started_at", nullable=True),
    _text("reason", nullable=True),
    _text("target", nullable=True),
    _text("image", nullable=True),
    _json("phases", nullable=True),
)

bundle = sa.Table(
    "bundle",
    metadata,
    _run(),
    _test(),
    sa.Column("attempt", sa.SmallInteger, primary_key=True, autoincrement=False),
    _json("manifest"),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

# The frames are compressed already; stored plainly, a slice of them is read without the rest.
BUNDLE_STORAGE = "ALTER TABLE bundle ALTER COLUMN data SET STORAGE EXTERNAL"
sa.event.listen(bundle, "after_create", sa.DDL(BUNDLE_STORAGE))  # type: ignore[no-untyped-call]

# Search by part of a word wants pg_trgm, which PostgreSQL as packaged for Python leaves out: without it, by words only.
TRIGRAMS = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
        CREATE INDEX IF NOT EXISTS headline_trigrams_idx ON headline USING gin (text gin_trgm_ops);
    END IF;
END $$
"""
sa.event.listen(headline, "after_create", sa.DDL(TRIGRAMS))  # type: ignore[no-untyped-call]

run_count = sa.Table(
    "run_count",
    metadata,
    _run(),
    sa.Column("suite_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("status", sa.SmallInteger, primary_key=True, autoincrement=False),
    _int("tests"),
)

lane_test = sa.Table(
    "lane_test",
    metadata,
    sa.Column("lane_id", sa.Integer, sa.ForeignKey("lane.id"), primary_key=True, autoincrement=False),
    _test(),
    _int("last_run_id"),
    _small("last_status"),
    _text("strip"),
    sa.Column("strip_runs", ARRAY(sa.Integer), nullable=False),
    _int("last_pass_run_id", nullable=True),
    _int("streak_run_id", nullable=True),
    _int("est_p50_ms", nullable=True),
    _int("est_p90_ms", nullable=True),
    sa.Index("lane_test_test_id_idx", "test_id"),
)

journal_segment = sa.Table(
    "journal_segment",
    metadata,
    _run(),
    sa.Column("segment", sa.Text, primary_key=True),
    sa.Column("events_to", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("bundles_to", sa.BigInteger, nullable=False, server_default="0"),
)

# A row for each night of a schedule that was due: `(schedule, due_at)` is unique, so that none is started twice.
night = sa.Table(
    "night",
    metadata,
    _id(),
    _text("schedule"),
    _moment("due_at"),
    _text("state"),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("caught_up", sa.Boolean, nullable=False, server_default=sa.text("false")),
    _text("run", nullable=True),
    _text("place", nullable=True),
    _int("pid", nullable=True),
    _moment("started_at", nullable=True),
    _moment("ended_at", nullable=True),
    _small("exit_code", nullable=True),
    sa.UniqueConstraint("schedule", "due_at"),
)

# What APScheduler keeps of each schedule, in the shape that it would give the table itself.
schedule_job = sa.Table(
    "schedule_job",
    metadata,
    sa.Column("id", sa.Unicode(191), primary_key=True),
    sa.Column("next_run_time", sa.Float(25), nullable=True),
    sa.Column("job_state", sa.LargeBinary, nullable=False),
    sa.Index("ix_schedule_job_next_run_time", "next_run_time"),
)

# Who may use a server, a row for each that was ever held. Its moments are the database's own; `epoch` only grows, so
# that whoever holds an older one is told that it lost the server. One that outlives its run is `kept` until it expires.
lease = sa.Table(
    "lease",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    _text("provider"),
    _text("server"),
    _text("run"),
    _small("slot"),
    _text("holder"),
    sa.Column("trigger", sa.Text, nullable=False, server_default=""),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    _text("state"),
    _moment("taken_at"),
    _moment("heartbeat_at"),
    _moment("expires_at"),
    sa.Column("made_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
    sa.Column("eur_per_hour", sa.Float, nullable=True),
    sa.Column("address", sa.Text, nullable=False, server_default=""),
    sa.Column("kept", sa.Text, nullable=False, server_default=""),
    sa.Column("test", sa.Text, nullable=False, server_default=""),
    sa.Index("lease_run_idx", "run"),
)
