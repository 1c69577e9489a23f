"""Files and folders that are complete or absent: staged next to the target, then renamed."""

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medtransfer.errors import DamagedFile, DataError
from medtransfer.processes import is_gone, this_process

SEAL = "seal"
_LEFTOVER = re.compile(r"\..+\.([0-9a-f]{6}-[0-9]+-[0-9]+)(?:\.[a-z0-9_]+)?\.part")


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file next to ``path``, flush it to disk and rename it into place.

    A kill or a full disk leaves the previous file untouched; the temporary file is removed on an error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_older(path)
    staged = path.with_name(f".{path.name}.{this_process()}.part")
    try:
        with named(path):
            write(staged)
            with staged.open("rb") as handle:
                os.fsync(handle.fileno())
            staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Give an error of the operating system the path that it lacks: a full disk does not say which file."""
    try:
        yield
    except OSError as error:
        if "requested and" in str(error):  # NumPy's words for a short write
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically."""
    write_atomic(path, lambda staged: _fill(staged, data))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: keys in the given order, two-space indent, a newline at the end; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def new_folder(target: Path, *, made: Collection[str] = (), mark: str = "") -> Iterator[Path]:
    """Let the block fill a new folder next to ``target``, which is renamed into place at the end.

    After an error, only the new folder is deleted. What was at ``target`` before is replaced if that is allowed: see
    ``require_made``.
    """
    require_made(target, made, mark=mark)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_older(target)
    own = Path(tempfile.mkdtemp(prefix=f".{target.name}.{this_process()}.", suffix=".part", dir=target.parent))
    try:
        staged = own / target.name  # made by mkdir, because folders made by mkdtemp are closed to other users
        staged.mkdir()
        with named(target):
            yield staged
        remove_made(target, made, mark=mark)
        staged.rename(target)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def remove_leftovers(folder: Path) -> list[Path]:
    """Delete what killed processes of this machine left of unfinished files and folders; return their paths.

    Links to folders are not followed.
    """
    found = []
    for place, folders, files in os.walk(folder):
        left = [name for name in (*folders, *files) if (made := _LEFTOVER.fullmatch(name)) and is_gone(made[1])]
        for path in (Path(place) / name for name in left):
            _remove(path)
            found.append(path)
        folders[:] = [name for name in folders if name not in left]
    return found


def _remove_older(target: Path) -> None:
    """Delete what processes that were killed left of a file or folder that is about to be written again."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        if (made := _LEFTOVER.fullmatch(path.name)) and is_gone(made[1]):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def require_made(folder: Path, made: Collection[str], *, mark: str = "") -> None:
    """Refuse a folder that must not be deleted because we did not make everything in it; an absent folder is fine.

    Args:
        folder: the folder.
        made: names of the files and folders that we make in it.
        mark: the name that must be in any folder of ours that is not empty.

    Raises:
        DataError: the path is a link or a file, or the folder holds something else or lacks the mark.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise DataError(f"{folder}: a link or a file, expected a folder or nothing; move it away")
    content = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    if foreign := sorted(content - set(made)):
        expected = f"nothing but {', '.join(made)}" if made else "an empty folder"
        raise DataError(f"{folder}: holds {foreign[0]!r}, expected {expected}, which can be replaced; move it away")
    if content and mark and mark not in content:
        raise DataError(f"{folder}: holds {min(content)!r} but no {mark}, so it is not replaced; move it away")


def remove_made(folder: Path, made: Collection[str], *, mark: str = "") -> None:
    """Delete a folder if everything in it is ours; see ``require_made``."""
    require_made(folder, made, mark=mark)
    if folder.exists():
        shutil.rmtree(folder)


def write_sealed(path: Path, value: Mapping[str, Any], *, nan: bool = False) -> None:
    """Write a JSON object with a hash of its content, which ``read_json`` and ``read_sealed`` check.

    Args:
        path: the file.
        value: the object.
        nan: it may hold NaN, for which strict JSON has no word.
    """
    content = json.loads(json.dumps(value, allow_nan=nan))
    write_text(path, json.dumps({**content, SEAL: _seal(content)}, indent=2) + "\n")


def read_sealed(path: Path) -> Any:
    """Read what ``write_sealed`` wrote.

    Raises:
        DamagedFile: it has no seal, or is not what was sealed.
    """
    value = read_json(path)
    if not isinstance(value, dict) or f'"{SEAL}": ' not in path.read_text(encoding="utf-8"):
        raise DamagedFile(f"{path}: no seal, which what wrote it puts there; run its stage again")
    return value


def read_json(path: Path, kind: type[dict[str, Any]] | type[list[Any]] = dict) -> Any:
    """Read a JSON file; an object with a seal is returned without it.

    A key that an object in it lacks is a ``DamagedFile`` too when it is looked up.

    Raises:
        DamagedFile: it is no JSON, not of this kind, or not what was sealed.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_hook=lambda content: _Object(path, content))
    except (ValueError, RecursionError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise DamagedFile(f"{path}: damaged JSON ({reason}); restore it, or run its stage again") from error
    if isinstance(value, dict) and SEAL in value and value.pop(SEAL) != _seal(value):
        raise DamagedFile(f"{path}: its content is not what was written; restore it, or run its stage again")
    if not isinstance(value, kind):
        expected = "an object" if kind is dict else "a list"
        raise DamagedFile(f"{path}: expected {expected}; restore it, or run its stage again")
    return value


class _Object(dict[str, Any]):
    """An object of a file, which is named when a key is missing."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self._path = path

    def __missing__(self, key: str) -> Any:
        raise DamagedFile(f"{self._path}: expected {key!r} in it; restore it, or run its stage again")


def _seal(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _fill(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
