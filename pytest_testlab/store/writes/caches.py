"""`run_count` and `lane_test`: rebuilt for the tests of one run when it is closed; pages need no history scan then.

A run on a kept server (`model.ON_SERVER`) has counts and no more: what isn't in `lane_test` is in no history and no
estimate.
"""

from __future__ import annotations

import sqlalchemy as sa

from pytest_testlab.model import ON_SERVER
from pytest_testlab.store.codes import LETTERS

STRIP = 60
"""Results of a test in a lane that its strip shows."""


def refresh(connection: sa.Connection, run_id: int, lane_id: int) -> None:
    """Rebuild the counts of a run, and what its lane knows of each of its tests; may be repeated."""
    connection.execute(sa.text("DELETE FROM run_count WHERE run_id = :run"), {"run": run_id})
    connection.execute(_COUNT, {"run": run_id})
    mode = connection.scalar(sa.text("SELECT mode FROM lane WHERE id = :lane"), {"lane": lane_id})
    if mode != ON_SERVER:
        connection.execute(_LANE_TESTS, {"run": run_id, "lane": lane_id, "strip": STRIP, "letters": LETTERS})


_COUNT = sa.text("""
    INSERT INTO run_count (run_id, suite_id, status, tests)
    SELECT :run, coalesce(test.suite_id, 0), result.status, count(*)
    FROM result JOIN test ON test.id = result.test_id
    WHERE result.run_id = :run GROUP BY 2, 3
""")

# Statuses as literals: a plan made for any status would not use the index. 1 passed, 2 failed, 6 flaky.
_LANE_TESTS = sa.text("""
    INSERT INTO lane_test (lane_id, test_id, last_run_id, last_status, strip, strip_runs, last_pass_run_id,
                           streak_run_id, est_p50_ms, est_p90_ms)
    SELECT :lane, own.test_id, recent.last_run_id, recent.last_status, recent.strip, recent.strip_runs,
           recent.last_pass,
           CASE WHEN recent.last_judged = 2
                THEN coalesce((SELECT min(run_id) FROM result AS streak
                               WHERE streak.test_id = own.test_id AND streak.lane_id = :lane AND streak.status = 2
                                     AND streak.run_id > coalesce(recent.last_pass, 0)), recent.last_run_id)
           END,
           recent.p50, recent.p90
    FROM (SELECT test_id FROM result WHERE run_id = :run ORDER BY test_id) AS own
    CROSS JOIN LATERAL (
        SELECT max(run_id) AS last_run_id,
               (array_agg(status ORDER BY run_id DESC))[1] AS last_status,
               (array_agg(status ORDER BY run_id DESC) FILTER (WHERE status IN (1, 2, 6)))[1] AS last_judged,
               string_agg(substr(:letters, status + 1, 1), '' ORDER BY run_id) AS strip,
               array_agg(run_id ORDER BY run_id) AS strip_runs,
               max(run_id) FILTER (WHERE status IN (1, 6)) AS last_pass,
               CAST(percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms)
                    FILTER (WHERE status IN (1, 6)) AS int) AS p50,
               CAST(percentile_cont(0.9) WITHIN GROUP (ORDER BY duration_ms)
                    FILTER (WHERE status IN (1, 6)) AS int) AS p90
        FROM (SELECT run_id, status, duration_ms FROM result
              WHERE result.test_id = own.test_id AND result.lane_id = :lane
              ORDER BY run_id DESC LIMIT :strip) AS last_results
    ) AS recent
    ON CONFLICT (lane_id, test_id) DO UPDATE
    SET last_run_id = excluded.last_run_id, last_status = excluded.last_status, strip = excluded.strip,
        strip_runs = excluded.strip_runs, last_pass_run_id = excluded.last_pass_run_id,
        streak_run_id = excluded.streak_run_id, est_p50_ms = excluded.est_p50_ms, est_p90_ms = excluded.est_p90_ms
""")
