"""The program knows its own newest migration."""

from alembic.config import Config
from alembic.script import ScriptDirectory

from pytest_testlab.model import FailureClass, Status
from pytest_testlab.store import codes, migrate


def test_head_is_the_newest_revision() -> None:
    """`migrate.HEAD` saves importing alembic on each start, so it must be right."""
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_every_status_and_class_has_a_number() -> None:
    """Nothing that the engine can say is refused by the store, and each status has its letter."""
    assert set(codes.STATUS) == set(Status)
    assert set(codes.CLASS) == set(FailureClass)
    assert len(set(codes.LETTERS)) == len(codes.LETTERS) == len(Status) + 1
