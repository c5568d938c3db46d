import shutil
from argparse import Namespace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from pydantic import SecretStr
from sqlalchemy import Engine, inspect, text

from ..database import make_engine, transaction
from ..tables import Base
from .conftest import PACKAGE, migrate


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names()) - {"alembic_version"}


def test_every_migration_can_be_taken_back_and_made_again(empty_database: SecretStr) -> None:
    engine = make_engine(empty_database)
    migrate(empty_database, "head")
    assert tables(engine) == set(Base.metadata.tables)
    migrate(empty_database, "base")
    assert tables(engine) == set()
    migrate(empty_database, "head")
    assert tables(engine) == set(Base.metadata.tables)


def test_the_migrations_make_what_the_tables_say(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(PACKAGE / "migrations"))
    with transaction(engine) as connection:
        config.attributes["connection"] = connection
        command.check(config)


def test_the_log_has_its_index(engine: Engine) -> None:
    indexes = [index["column_names"] for index in inspect(engine).get_indexes("predictions")]
    assert indexes == [["tier", "source", "id"]]


def versions_in(folder: Path) -> Config:
    """Return a configuration that writes new revisions beside copies of those there are."""
    versions = shutil.copytree(PACKAGE / "migrations/versions", folder / "versions")
    config = Config()
    config.set_main_option("script_location", str(PACKAGE / "migrations"))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "newline")
    return config


def test_no_revision_is_written_where_nothing_changed(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = versions_in(tmp_path)
    config.cmd_opts = Namespace(autogenerate=True)
    before = sorted((tmp_path / "versions").iterdir())
    with transaction(engine) as connection:
        config.attributes["connection"] = connection
        assert command.revision(config, "Nothing", autogenerate=True) == []
    assert sorted((tmp_path / "versions").iterdir()) == before
    assert capsys.readouterr().err.endswith("no migration was written\n")


def test_a_new_revision_brings_the_database_to_what_the_tables_say(
    engine: Engine, tmp_path: Path
) -> None:
    config = versions_in(tmp_path)
    with transaction(engine) as connection:
        connection.execute(text("DROP TABLE predictions"))
        config.attributes["connection"] = connection
        made = command.revision(config, "Bring it back", autogenerate=True)
        command.upgrade(config, "head")
    assert tables(engine) == set(Base.metadata.tables)
    source = Path(made.path).read_text()  # type: ignore[union-attr]
    assert source.startswith('"""Bring it back."""')
    assert PACKAGE.name not in source
