"""Where Optuna keeps a search: a journal file, or PostgreSQL for several machines; patience when it is down."""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from medtransfer import paths
from medtransfer.errors import ConfigError, DataError, TrackingError
from medtransfer.tracking.address import portable_uri
from medtransfer.tracking.refusals import first_line
from medtransfer.training.progress import console

WAIT_SECONDS = 300.0
"""How long a worker waits for a storage that does not answer."""
JOURNAL = "journal.log"

T = TypeVar("T")


class KernelLock:
    """The lock of a journal file, held by the kernel: it ends with its holder, however that ends.

    Optuna's own locks are files; one that a killed worker leaves stops all others for 30 seconds. Whoever takes
    this one also removes a last line without its end, which a kill or a full disk left: nobody else is writing then.
    """

    def __init__(self, journal: Path) -> None:
        self._journal, self._path, self._file = journal, journal.with_name(f"{journal.name}.lock"), -1

    def acquire(self) -> bool:
        """Wait for the lock, and take it."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        _cut_torn_line(self._journal)
        return True

    def release(self) -> None:
        """Let it go."""
        os.close(self._file)


def _cut_torn_line(journal: Path) -> None:
    with journal.open("r+b") as handle:
        size = handle.seek(0, os.SEEK_END)
        if not size:
            return
        handle.seek(size - 1)
        if handle.read(1) == b"\n":
            return
        handle.seek(0)
        handle.truncate(handle.read().rfind(b"\n") + 1)
        console.print(f"{journal.name}: removed a last line that was cut in two", markup=False)


def folder(name: str) -> Path:
    """Return the folder of a search while it runs, relative to the workspace."""
    return paths.below(paths.SCRATCH / "tuning", name, "search")


def where(name: str, address: str | None) -> str:
    """Return the storage as messages name it, without credentials."""
    return portable_uri(address) if address else str(folder(name) / JOURNAL)


def open_storage(name: str, address: str | None) -> Any:
    """Open the storage of a search.

    Args:
        name: of the search.
        address: ``postgresql+psycopg://…``; the journal file in the search's folder by default.

    Raises:
        ConfigError: another kind of address.
        DataError: the journal is damaged before its last line.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if address:
        if not address.startswith("postgresql"):
            raise ConfigError(f"--storage {portable_uri(address)}: expected postgresql+psycopg://USER@HOST/DATABASE")
        return _database(address)
    journal = folder(name) / JOURNAL
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.touch()
    lock = KernelLock(journal.absolute())
    lock.acquire()
    lock.release()
    try:
        return JournalStorage(JournalFileBackend(str(journal.absolute()), lock))
    except ValueError as error:
        raise DataError(
            f"{journal}: damaged before its last line ({first_line(error)}); restore it, or delete it to begin again"
        ) from error


def _database(address: str) -> RDBStorage:
    """Return the storage in PostgreSQL; workers that make its tables at the same moment take turns."""
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 5}}
    for _ in range(10):
        try:
            return RDBStorage(address, engine_kwargs=options)
        except (IntegrityError, ProgrammingError):
            time.sleep(0.3)
    return RDBStorage(address, engine_kwargs=options)


def patient(call: Callable[[], T], *, at: str) -> T:
    """Return what a call of the storage gives; while the storage does not answer, say so once and try again.

    Raises:
        TrackingError: it has not answered for ``WAIT_SECONDS``; nothing is lost.
    """
    begun, pause = time.monotonic(), 0.5
    while True:
        try:
            return call()
        except _down() as error:
            waited = time.monotonic() - begun
            if waited >= WAIT_SECONDS:
                raise TrackingError(
                    f"{at}: the storage of the search has not answered for {waited:.0f} s ({first_line(error)}); "
                    "nothing is lost, what trials reached waits in their folders: repeat the command when it is back"
                ) from error
            if pause == 0.5:
                said = f"{at}: the storage does not answer ({first_line(error)}); waiting"
                console.print(said, markup=False, soft_wrap=True)
            time.sleep(min(pause, WAIT_SECONDS - waited))
            pause = min(2 * pause, 15.0)


def _down() -> tuple[type[Exception], ...]:
    from sqlalchemy.exc import SQLAlchemyError

    return optuna.exceptions.StorageInternalError, SQLAlchemyError, OSError
