"""The files in ``deploy/`` name what there is."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from maester import config as configuration
from maester.cli import root
from maester.ledger.sink import CLOSE_TIMEOUT_S
from maester.metrics.families import FAMILIES
from maester.runtime import Runtime
from maester.settings import JobSettings, ProviderSettings, ServerSettings, Settings
from maester.web import create_app, gunicorn

DEPLOY = Path(__file__).parents[2] / "deploy"

Json = dict[str, Any]


def samples() -> dict[str, set[str]]:
    """Every name that may stand in a query, with its labels."""
    found: dict[str, set[str]] = {"maester_build_info": {"version", "python"}}
    for family in FAMILIES:
        labels = set(family.labels)
        if family.kind == "histogram":
            found[f"{family.name}_bucket"] = labels | {"le"}
            found |= {f"{family.name}_sum": labels, f"{family.name}_count": labels}
        else:
            found[family.shown] = labels
    return found


def dashboard() -> Json:
    found: Json = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    return found


def queries() -> Iterator[str]:
    for group in yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def test_alerts_and_panels_ask_for_what_is_counted() -> None:
    known = samples()
    asked = list(queries())
    assert len(asked) > 60
    for query in asked:
        selected = re.findall(r"(maester_\w+)(?:\{([^}]*)\})?", query)
        assert selected, query
        labels: set[str] = {"instance"}
        for name, matchers in selected:
            assert name in known, query
            assert set(re.findall(r"(\w+)\s*[=!]~?", matchers)) <= known[name], query
            labels |= known[name]
        for by in re.findall(r"\b(?:by|on) \(([^)]*)\)", query):
            assert set(re.findall(r"\w+", by)) <= labels, query


def test_alerts_say_how_bad_and_what_it_is() -> None:
    groups = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text(encoding="utf-8"))["groups"]
    alerts = [rule for group in groups for rule in group["rules"]]
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    for alert in alerts:
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert alert["annotations"]["summary"].endswith(".")


def test_panels_do_not_lie_on_each_other() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


def check_command(command: list[str]) -> None:
    """A command line is one that the command knows, with all its options."""
    assert command[0].rpartition("/")[2] == "maester"
    answer = CliRunner().invoke(root, [*command[1:], "--help"])
    assert answer.exit_code == 0, answer.output
    for option in (word for word in command if word.startswith("--")):
        assert option in answer.output


def check_environment(environ: dict[str, str]) -> Settings:
    """Every variable of Maester's says something of the configuration."""
    settings = configuration.load(None, environ, {})
    origins = " ".join(map(str, settings.origins.values()))
    for name in environ:
        assert not name.startswith("MAESTER_") or name in origins, name
    return settings


def items() -> dict[str, Json]:
    """The Kubernetes objects, by kind and name."""
    found = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))["items"]
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in found}


SECRETS = {"MAESTER_LEDGER_URL": "postgresql://host/maester", "MAESTER_REDIS_URL": "rediss://host:6380/0"}


def pod_of(name: str) -> tuple[Json, Json, Settings]:
    pod: Json = items()[name]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    check_command(container["command"])
    own = {each["name"]: each["value"] for each in container.get("env", ())}
    return pod, container, check_environment({**SECRETS, **own})


def port_of(container: Json, probe: str) -> int:
    (port,) = container["ports"]
    assert container[probe]["httpGet"]["port"] == port["name"]
    number: int = port["containerPort"]
    return number


def test_pods_are_probed_and_ended_as_the_service_wants_it(tmp_path: Path) -> None:
    pod, container, settings = pod_of("StatefulSet/maester")
    with Runtime.build(settings=Settings(data_dir=tmp_path)) as runtime:
        paths = {str(rule) for rule in create_app(runtime).url_map.iter_rules()}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in paths
        assert port_of(container, probe) == settings.server.port
    assert settings.server.host == "0.0.0.0"
    _, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    ends_in = int(seconds) + settings.server.graceful_timeout_s + CLOSE_TIMEOUT_S
    assert pod["terminationGracePeriodSeconds"] >= ends_in
    annotations = items()["StatefulSet/maester"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] in paths
    assert int(annotations["prometheus.io/port"]) == settings.server.port
    assert settings.metrics.open


def test_workers_are_probed_and_ended_as_they_want_it() -> None:
    pod, container, settings = pod_of("StatefulSet/maester-worker")
    assert port_of(container, "livenessProbe") == settings.metrics.worker_port
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert settings.metrics.worker_host == "0.0.0.0"
    assert pod["terminationGracePeriodSeconds"] >= settings.jobs.grace_s + CLOSE_TIMEOUT_S
    annotations = items()["StatefulSet/maester-worker"]["spec"]["template"]["metadata"]["annotations"]
    assert int(annotations["prometheus.io/port"]) == settings.metrics.worker_port


def test_pods_run_as_the_image_does() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    folder = re.findall(r"^WORKDIR (\S+)$", dockerfile, re.MULTILINE)
    user = re.findall(r"^USER (\d+)$", dockerfile, re.MULTILINE)
    for name in ("StatefulSet/maester", "StatefulSet/maester-worker", "Job/maester-migrate"):
        pod, container, _ = pod_of(name)
        assert [str(pod["securityContext"]["runAsUser"])] == user
        assert container["securityContext"]["readOnlyRootFilesystem"]
        mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        assert set(mounts) == {*folder, "/tmp"}
        claimed = items()[name]["spec"].get("volumeClaimTemplates", [])
        there = [*pod["volumes"], *(each["metadata"] for each in claimed)]
        assert {each["name"] for each in there} == set(mounts.values())
    assert user[0] in re.findall(r"--uid (\d+)", dockerfile)
    check_command(json.loads(re.findall(r"^CMD (.+)$", dockerfile, re.MULTILINE)[0]))
    check_environment(dict(re.findall(r"^ENV (\w+)=(\S+)$", dockerfile, re.MULTILINE)))


def test_a_service_leads_to_pods_that_there_are() -> None:
    service = items()["Service/maester"]["spec"]
    template = items()["StatefulSet/maester"]["spec"]["template"]
    assert service["selector"] == template["metadata"]["labels"]
    assert service["ports"][0]["targetPort"] == template["spec"]["containers"][0]["ports"][0]["name"]


def test_compose_runs_commands_that_there_are() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    whole = yaml.safe_load(re.sub(r"\$\{(\w+):\?[^}]*\}", "secret", re.sub(r"\$\{\w+:-\}", "", text)))
    ours = {name: each for name, each in whole["services"].items() if "build" in each}
    assert set(ours) == {"migrate", "web", "worker"}
    for name, service in ours.items():
        check_command(service.get("command", ["maester", "serve"]))
        settings = check_environment({key: str(value or "") for key, value in service["environment"].items()})
        assert set(settings.providers) == {"echo"}, "an empty key turns nothing on"
        assert int(service["stop_grace_period"].rstrip("s")) >= settings.server.graceful_timeout_s + 10
        if name == "worker":
            assert f":{settings.metrics.worker_port}/healthz" in service["healthcheck"]["test"][-1]
    for service in whole["services"].values():
        assert {each.partition(":")[0] for each in service.get("volumes", ())} <= set(whole["volumes"])


@pytest.mark.parametrize("name", ["maester", "maester-worker"])
def test_units_run_commands_that_there_are(name: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / f"{name}.service", encoding="utf-8")
    service = unit["Service"]
    check_command(shlex.split(service["ExecStart"]))
    slowest = max(ServerSettings().graceful_timeout_s, JobSettings().grace_s) + CLOSE_TIMEOUT_S
    assert int(service["TimeoutStopSec"]) >= slowest
    assert service["KillMode"] == "mixed"


def test_nginx_waits_longer_than_providers_may_take_and_buffers_nothing() -> None:
    site = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert "proxy_buffering off;" in site
    (patience,) = re.findall(r"proxy_read_timeout (\d+)s;", site)
    assert int(patience) > ProviderSettings("any", "openai").total_timeout_s
    (idle,) = re.findall(r"^    keepalive_timeout (\d+)s;", site, re.MULTILINE)
    assert int(idle) < gunicorn.keepalive
    (largest,) = re.findall(r"client_max_body_size (\d+)m;", site)
    assert int(largest) * 2**20 >= JobSettings().max_body_bytes
