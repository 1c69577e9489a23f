"""Servers on loopback that more than one room needs."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def postgres():
    """A throw-away PostgreSQL on loopback."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("no PostgreSQL server programs under /usr/lib/postgresql")
    # not below tmp_path: every pytest session of the machine closes that folder to other users again
    with tempfile.TemporaryDirectory() as folder:
        yield from serve(Path(folder), programs[-1].parent)


def serve(folder, bin_folder):
    user = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def call(program: str, *arguments: str) -> None:
        command = [*user, str(bin_folder / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)

    call("initdb", "-U", "tracker", "-A", "trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    yield f"postgresql+psycopg://tracker:secret@127.0.0.1:{port}/postgres"
    call("pg_ctl", "-m", "immediate", "stop")
