"""The file of a local store: made whole or not at all, and a half-made one of earlier is recognised."""

import sqlite3
from contextlib import closing
from pathlib import Path

from medtransfer.files import write_atomic

HALF_MADE = "half-made"
_SIDE_FILES = ("-journal", "-wal", "-shm")
_FILLED = ("runs", "registered_models")
"""Tables of which one has a row in a store that was used."""


def make_database(file: Path) -> None:
    """Make MLflow's schema beside a database that does not exist, and rename it into place.

    MLflow makes a schema step by step, and a kill between two steps leaves a file that it refuses ever after. Such a
    file, which has no run yet, is moved aside.

    The caller holds the lock of the schema.
    """
    if _is_half_made(file):
        place = next(p for n in range(1000) if not (p := file.with_name(f"{file.name}.{HALF_MADE}-{n}")).exists())
        file.rename(place)
        for suffix in _SIDE_FILES:
            file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)
    if not file.exists():
        write_atomic(file, _write_schema)


def _write_schema(staged: Path) -> None:
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{staged}".replace("%", "%25"))
    try:
        _initialize_tables(engine)
    finally:
        engine.dispose()


def _is_half_made(file: Path) -> bool:
    """Whether the making of a schema was interrupted: the database holds nothing, and has no or an earlier version."""
    if not file.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=10)) as store:
            tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            version = (
                "alembic_version" in tables and store.execute("SELECT version_num FROM alembic_version").fetchone()
            )
            filled = [name for name in _FILLED if name in tables and store.execute(f"SELECT 1 FROM {name}").fetchone()]
    except sqlite3.Error:
        return False  # locked or damaged: MLflow's refusal says so
    ours = not tables or tables & {"alembic_version", *_FILLED}
    return bool(ours) and not filled and (not version or version[0] in _earlier_versions())


def _earlier_versions() -> set[str]:
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    scripts = ScriptDirectory.from_config(_get_alembic_config("sqlite://"))
    return {each.revision for each in scripts.walk_revisions()} - set(scripts.get_heads())
