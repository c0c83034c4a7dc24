"""How long tests take, for the plan."""

from __future__ import annotations

import sqlalchemy as sa


def estimates(connection: sa.Connection, *, provider: str, image: str) -> dict[str, float]:
    """Test → seconds: the median of its passes in the lanes of this provider.

    Lanes with the same image count; where a test has none, those with any other image do.
    """
    statement = sa.text("""
        SELECT name, ms FROM (
            SELECT test.name, lane.image = :image AS same,
                   percentile_cont(0.5) WITHIN GROUP (ORDER BY lane_test.est_p50_ms) AS ms,
                   row_number() OVER (PARTITION BY test.name ORDER BY (lane.image = :image) DESC) AS choice
            FROM lane_test JOIN lane ON lane.id = lane_test.lane_id JOIN test ON test.id = lane_test.test_id
            WHERE lane.provider = :provider AND lane_test.est_p50_ms IS NOT NULL
            GROUP BY test.name, lane.image = :image
        ) AS ranked WHERE choice = 1
    """)
    rows = connection.execute(statement, {"provider": provider, "image": image})
    return {row.name: row.ms / 1000 for row in rows}


def priors(connection: sa.Connection) -> dict[str, float]:
    """`<suite>/<stage>` → seconds: the median over tests of that kind, for one that has no passes of its own."""
    statement = sa.text("""
        SELECT suite.name || '/' || test.stage AS kind,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY lane_test.est_p50_ms) AS ms
        FROM lane_test JOIN test ON test.id = lane_test.test_id JOIN suite ON suite.id = test.suite_id
        WHERE lane_test.est_p50_ms IS NOT NULL GROUP BY 1
    """)
    return {row.kind: row.ms / 1000 for row in connection.execute(statement)}
