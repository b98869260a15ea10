"""``maester serve``: the service as a newcomer starts it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from maester.cli import exits
from maester.cli.serve import FACTORY, VARIABLES, _application, environment, listen
from maester.config import load
from maester.errors import ConfigError, Unavailable
from maester.settings import ServerSettings
from support.console import MAESTER, clean_environment, document, maester


class Running:
    """A service that runs: what it said, and its process."""

    def __init__(self, process: subprocess.Popen[str], said: list[str]) -> None:
        self.process = process
        self.said = "".join(said)
        self.log: list[str] = []

    @property
    def curl(self) -> str:
        found = re.search(r"^  (curl .*)$", self.said, re.MULTILINE)
        assert found, self.said
        return found[1]

    @property
    def url(self) -> str:
        found = re.search(r"listening +(\S+)", self.said)
        assert found, self.said
        return found[1]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def serving(*options: str, cwd: Path, **environ: str) -> Iterator[Running]:
    """Start the service and wait until it has said what it starts."""
    with subprocess.Popen(
        [MAESTER, "serve", *options],
        cwd=cwd,
        env=clean_environment(**environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("  curl"):
                break
        running = Running(process, said)
        log = process.stdout
        reader = threading.Thread(target=lambda: running.log.extend(log))
        reader.start()
        try:
            yield running
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            reader.join()


def shell(command: str, **environ: str) -> Any:
    """What a shell makes of a line that was copied into it."""
    done = subprocess.run(
        ["sh", "-c", f"{command} --silent --show-error --max-time 30"],
        env=clean_environment(**environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_newcomer_starts_it_and_copies_the_first_request(tmp_path: Path) -> None:
    with serving("--port", "0", cwd=tmp_path) as service:
        assert str(tmp_path / "maester-data" / "ledger.db") in service.said
        assert "providers   echo" in service.said
        answer = shell(service.curl)
        assert answer["output"] == "Say hello."
        assert service.end() == exits.OK
    found = document(maester("inferences", "show", answer["request_id"], "--json", cwd=tmp_path))
    assert found["entry_point"] == "http"
    entries = [json.loads(line) for line in service.log]
    assert any(entry["message"] == "inference_end" for entry in entries)


def test_commands_read_while_it_runs_in_a_folder_with_another_wsgi_module(
    data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "wsgi.py").write_text("raise RuntimeError('not this one')\n")
    environ = {"MAESTER_DATA_DIR": str(data_dir)}
    with serving("--port", "0", cwd=tmp_path, **environ) as service:
        answer = shell(service.curl)
        assert maester("run", "beside it", cwd=tmp_path, environ=environ).returncode == 0
        found = maester("inferences", "show", answer["request_id"], "--json", cwd=tmp_path, environ=environ)
        assert document(found)["content"]["output"] == "Say hello."


def test_the_address_is_said_as_json_too_and_ctrl_c_ends_it(data_dir: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [MAESTER, "serve", "--json", "--port", "0", "--data-dir", str(data_dir)],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert shell(said["curl"])["output"] == "Say hello."
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert said["providers"] == {"echo": "echo"}
    assert said["keys"] is False


def test_a_port_that_is_taken_is_told(data_dir: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = {"MAESTER_DATA_DIR": str(data_dir)}
        done = maester("serve", "--port", str(port), cwd=tmp_path, environ=environ)
    assert done.returncode == exits.UNAVAILABLE
    assert done.stderr.startswith(f"error [unavailable] 127.0.0.1:{port} is in use")
    assert "--port" in done.stderr
    assert done.stdout == ""


def test_it_listens_to_other_machines_only_with_a_key(tmp_path: Path) -> None:
    refused = maester("serve", "--host", "0.0.0.0", "--port", "0", cwd=tmp_path)
    assert refused.returncode == exits.CONFIG
    assert "maester keys create --name" in refused.stderr
    key = document(maester("keys", "create", "--name", "me", "--json", cwd=tmp_path))["key"]
    with serving("--host", "0.0.0.0", "--port", "0", cwd=tmp_path) as service:
        assert service.url.startswith("http://127.0.0.1:")
        assert "$MAESTER_KEY" in service.curl
        assert shell(service.curl, MAESTER_KEY=key)["output"] == "Say hello."
        assert shell(service.curl, MAESTER_KEY="mk_wrong")["error"]["code"] == "unauthorized"
        assert service.end() == exits.OK


def test_it_listens_on_a_unix_socket(data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving("--host", f"unix:{path}", cwd=tmp_path, MAESTER_DATA_DIR=str(data_dir)) as service:
        assert f"--unix-socket {path}" in service.curl
        assert (
            shell(f"{service.curl} --retry 20 --retry-delay 1 --retry-all-errors")["output"] == "Say hello."
        )


def test_the_configuration_and_the_options_hold_for_the_workers(data_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "conf" / "m.toml"
    file.parent.mkdir()
    file.write_text(
        '[server]\nport = 1\n[models.fast]\nprovider = "echo"\nmodel = "echo"\n'
        '[providers.echo]\noptions = {output = "configured"}\n'
    )
    words = ("--config", "conf/m.toml", "--port", "0", "--workers", "2", "--worker-class", "gthread")
    with serving(*words, cwd=tmp_path, MAESTER_DATA_DIR=str(data_dir), MAESTER_PORT="2") as service:
        assert "(2 gthread workers)" in service.said
        assert str(file) in service.said
        assert "fast = echo/echo" in service.said
        answer = shell(service.curl)
        assert answer["output"] == "configured"
        assert service.end() == exits.OK


def test_a_wrong_configuration_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "maester.toml").write_text('[models.fast]\nprovider = "nobody"\nmodel = "x"\n')
    done = maester("serve", cwd=tmp_path)
    assert done.returncode == exits.CONFIG
    assert "models.fast.provider" in done.stderr
    assert "nobody" in done.stderr
    assert not (tmp_path / "maester-data").exists()


def test_a_folder_that_cannot_be_made_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = maester("serve", "--port", "0", "--data-dir", str(tmp_path / "file" / "data"), cwd=tmp_path)
    assert done.returncode == exits.UNAVAILABLE
    assert done.stderr.startswith("error [ledger_error] ")
    assert done.stdout == ""


def test_every_option_reaches_the_settings_whatever_the_environment_says(tmp_path: Path) -> None:
    options = {
        "host": "localhost",
        "port": 1234,
        "workers": 3,
        "worker_class": "sync",
        "threads": 4,
        "connections": 55,
        "graceful_timeout": 1.5,
        "log_level": "error",
        "data_dir": str(tmp_path),
        "embedded": "true",
    }
    assert options.keys() == VARIABLES.keys()
    before = {variable: "7" for variables in VARIABLES.values() for variable in variables}
    settings = load(None, environment(before, options, None))
    assert settings.server == ServerSettings("localhost", 1234, 3, "sync", 4, 55, 1.5)
    assert settings.log.level == "error"
    assert settings.data_dir == tmp_path
    assert settings.jobs.embedded


def test_an_address_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"Cannot listen on 192\.0\.2\.1"):
        listen(ServerSettings(host="192.0.2.1", port=0))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable):
        listen(ServerSettings(port=taken.getsockname()[1]))


def test_the_application_is_the_module_unless_another_is_nearer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _application("wsgi:app") == "wsgi:app"
    (tmp_path / "wsgi").mkdir()
    (tmp_path / "wsgi" / "__init__.py").touch()
    assert _application("wsgi:app") == FACTORY


def test_a_fresh_gunicorn_takes_the_place_of_the_launcher(tmp_path: Path) -> None:
    """Nothing that the launcher imported is there when gevent patches a worker."""
    program = (
        "import sys, os\n"
        "os.execve = lambda path, words, environ: print(' '.join(words[1:]))\n"
        "from maester.cli import root\n"
        "root.main(['serve', '--port', '0'], prog_name='maester')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"-m gunicorn --config python:maester\.web\.gunicorn --bind fd://\d+ ", done.stdout)
    assert done.stdout.endswith("wsgi:app\n")
