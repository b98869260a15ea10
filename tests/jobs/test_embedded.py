"""The embedded Redis: one for a data folder, whoever starts, dies or is killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from redis import Redis

from maester.errors import ConfigError, QueueUnavailable
from maester.jobs import embedded
from maester.jobs import queue as queues
from maester.jobs.embedded import EmbeddedRedis
from maester.jobs.queue import TaskQueue
from maester.jobs.service import Jobs
from maester.runtime import Runtime
from maester.settings import Settings
from support import upstream as up
from support.place import Place
from support.redis import binary
from support.upstream import Upstream
from support.worker import Worker, kill, until

CONFIG = """
data_dir = "{folder}/data"

[providers.up]
type = "openai"
base_url = "{upstream}"
api_key = "sk-upstream"
models = ["count"]
price_as = "openai"

[jobs]
embedded = true
concurrency = 4
chunk_size = 20
lease_s = 2
"""

LEAVES_ONE = """
import os, sys
from pathlib import Path
from maester.jobs import embedded
embedded.die_with_parent = lambda: None
embedded.EmbeddedRedis(Path(sys.argv[1])).__enter__()
os._exit(0)
"""


@pytest.fixture
def place(tmp_path: Path, upstream: Upstream) -> Iterator[Place]:
    """An installation that has no Redis but the embedded one."""
    path = tmp_path / "maester.toml"
    path.write_text(CONFIG.format(folder=tmp_path, upstream=upstream.base_url))
    with Runtime.build(path, environ={}) as runtime:
        jobs = Jobs(runtime.settings, runtime.database)
        yield Place(tmp_path, runtime, jobs, None, upstream)  # type: ignore[arg-type]


def servers(data_dir: Path) -> list[psutil.Process]:
    """The Redis servers that run in a data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name().startswith("redis") and Path(process.cwd()) == data_dir.absolute() / "redis":
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def started(place: Place) -> bool:
    try:
        place.jobs.queue.check()
    except QueueUnavailable:
        return False
    return True


def test_a_worker_brings_it_along_and_takes_it_away(place: Place) -> None:
    data = place.folder / "data"
    place.upstream.respond(up.completion("Hello"))
    with Worker(place.folder, "--embedded") as worker:
        until(lambda: started(place))
        job = place.submit(5)
        assert until(lambda: place.ended(job.id)).state == "completed"
        (server,) = servers(data)
        address = embedded.address(data) or ""
        password = address.split("@")[0].rpartition(":")[2]
        assert len(password) == 64
        assert password not in " ".join(server.cmdline())
        assert password not in str(server.environ())
        assert password not in worker.log
        assert {each.laddr.ip for each in server.net_connections() if each.status == "LISTEN"} == {
            "127.0.0.1"
        }
        assert os.getsid(server.pid) != os.getsid(worker.process.pid)  # a terminal's Ctrl-C is not for it
        shown = subprocess.run(
            [sys.executable, "-c", "from rq.cli import main; main()", "info", "-u", address],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert "maester-items" in shown.stdout, shown.stderr
        assert "1 workers" in shown.stdout
        with Redis.from_url(address) as client:
            asked = ("maxmemory-policy", "appendonly", "appendfsync", "save")
            found = {name: client.config_get(name)[name] for name in asked}
        assert found == {
            "maxmemory-policy": "noeviction",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
        }
        worker.terminate()
        assert worker.wait() == 0
    assert not servers(data)
    assert stat.S_IMODE((data / "redis").stat().st_mode) == 0o700
    for name in ("address.json", "appendonly.aof"):
        assert stat.S_IMODE((data / "redis" / name).stat().st_mode) == 0o600


def test_a_supervisor_that_is_killed_leaves_nothing_in_the_way(place: Place) -> None:
    data = place.folder / "data"
    place.upstream.respond([up.Pause(0.05), *up.completion("Hello")])
    with Worker(place.folder, "--embedded") as first:
        until(lambda: started(place))
        job = place.submit(60)
        until(lambda: len(place.upstream.requests) >= 5)
        address = embedded.address(data)
        (server,) = servers(data)
        first.process.kill()
        with Worker(place.folder, "--embedded", log="second.log") as second:
            ended = until(lambda: place.ended(job.id))
            assert servers(data) != [server]
            assert len(servers(data)) == 1
            assert "Traceback" not in second.log
    assert embedded.address(data) == address
    assert (ended.state, ended.progress.done) == ("completed", 60)
    assert not servers(data)


def test_two_workers_share_it_and_the_second_takes_it_over(place: Place) -> None:
    data = place.folder / "data"
    place.upstream.respond([up.Pause(0.05), *up.completion("Hello")])
    with Worker(place.folder, "--embedded") as first:
        until(lambda: started(place))
        with Worker(place.folder, "--embedded", log="second.log") as second:
            until(lambda: "Maester worker:" in second.log)
            (server,) = servers(data)
            job = place.submit(60)
            until(lambda: len(place.upstream.requests) >= 5)
            first.terminate()
            assert first.wait() == 0
            ended = until(lambda: place.ended(job.id))
            assert until(lambda: servers(data))[0].ppid() == second.process.pid
            assert server not in servers(data)
    assert (ended.state, ended.progress.done) == ("completed", 60)
    assert ended.progress.interrupted == 0
    assert not servers(data)


def test_one_worker_ends_while_another_starts(place: Place) -> None:
    data = place.folder / "data"

    def looks_for_it(worker: Worker) -> bool:
        files = psutil.Process(worker.process.pid).open_files()
        return any(file.path.endswith("owner.lock") for file in files)

    with Worker(place.folder, "--embedded") as first:
        until(lambda: started(place))
        with Worker(place.folder, "--embedded", log="second.log") as second:
            until(lambda: looks_for_it(second))
            first.terminate()
            assert first.wait() == 0
            assert until(lambda: servers(data))[0].ppid() == second.process.pid
            until(lambda: "Maester worker:" in second.log)
            until(lambda: started(place))
            second.terminate()
            assert second.wait() == 0


def test_it_is_started_again_when_it_crashes(place: Place) -> None:
    data = place.folder / "data"
    place.upstream.respond([up.Pause(0.05), *up.completion("Hello")])
    with Worker(place.folder, "--embedded") as worker:
        until(lambda: started(place))
        job = place.submit(60)
        until(lambda: len(place.upstream.requests) >= 5)
        kill(servers(data))
        ended = until(lambda: place.ended(job.id))
        assert "it is started again" in worker.log
    assert (ended.state, ended.progress.done) == ("completed", 60)
    assert set(place.calls().values()) == {1}


def test_what_is_in_it_stays(tmp_path: Path) -> None:
    for value in (None, b"kept"):
        with EmbeddedRedis(tmp_path) as redis, Redis.from_url(redis.url) as client:
            assert client.get("key") == value
            client.set("key", "kept")


def test_one_that_outlived_its_owner_is_replaced(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LEAVES_ONE, tmp_path], check=True, timeout=30)
    (left,) = servers(tmp_path)
    try:
        address = embedded.address(tmp_path)
        with EmbeddedRedis(tmp_path) as redis:
            assert servers(tmp_path) != [left]
            assert len(servers(tmp_path)) == 1
            assert redis.url == address
    finally:
        kill([process for process in [left] if process.is_running()])


def test_one_that_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_END_S", 0.3)
    monkeypatch.setattr(embedded, "_ANSWER_S", 0.1)
    subprocess.run([sys.executable, "-c", LEAVES_ONE, tmp_path], check=True, timeout=30)
    (left,) = servers(tmp_path)
    try:
        left.send_signal(signal.SIGSTOP)
        with pytest.raises(QueueUnavailable, match=r"redis\.pid"), EmbeddedRedis(tmp_path):
            pass
        assert (tmp_path / "redis" / "redis.pid").read_text().strip() == str(left.pid)
    finally:
        kill([left])


def test_a_port_that_is_taken_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_TRIES", 1)
    with EmbeddedRedis(tmp_path) as redis:
        first = redis.url
    port = int(first.rpartition(":")[2].partition("/")[0])
    with socket.create_server(("127.0.0.1", port)), EmbeddedRedis(tmp_path) as redis:
        second = redis.url
        assert second.partition("@")[0] == first.partition("@")[0]
        assert second != first
        kill(servers(tmp_path))
        port = int(second.rpartition(":")[2].partition("/")[0])
        until(lambda: all(each.status() == psutil.STATUS_ZOMBIE for each in servers(tmp_path)))
        with socket.create_server(("127.0.0.1", port)), pytest.raises(QueueUnavailable, match="in use by"):
            redis.watch()


def test_a_file_that_is_damaged(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path):
        pass
    file = tmp_path / "redis" / "appendonly.aof"
    file.write_bytes(b"no such thing\r\n" * 10)
    with pytest.raises(QueueUnavailable) as caught, EmbeddedRedis(tmp_path):
        pass
    assert "append only file" in caught.value.message
    assert f"{file.parent}/appendonly*" in caught.value.message
    file.unlink()
    with EmbeddedRedis(tmp_path):
        assert len(servers(tmp_path)) == 1


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="MAESTER_DATA_DIR"), EmbeddedRedis(tmp_path / "file"):
        pass
    (tmp_path / "data" / "redis" / "server.lock").mkdir(parents=True)
    with pytest.raises(ConfigError, match="Is a directory"), EmbeddedRedis(tmp_path / "data"):
        pass


def test_without_the_wheel_one_on_the_path_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = binary()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError) as caught, EmbeddedRedis(tmp_path / "data"):
        pass
    assert "MAESTER_REDIS_URL" in caught.value.message
    assert ("pip install 'maester[embedded]'" in caught.value.message) == (sys.version_info < (3, 13))
    assert not (tmp_path / "data").exists()
    (tmp_path / "redis-server").symlink_to(real)
    with EmbeddedRedis(tmp_path / "data"):
        assert servers(tmp_path / "data")[0].cmdline()[0].startswith(str(tmp_path))


def test_who_asked_before_it_was_started_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        monkeypatch.setattr(queues, "DEFAULT_URL", f"redis://127.0.0.1:{gone.getsockname()[1]}/0")
    queue = TaskQueue(Settings(data_dir=tmp_path))
    with pytest.raises(QueueUnavailable, match="maester worker --embedded"):
        queue.check()
    with EmbeddedRedis(tmp_path):
        queue.check()
