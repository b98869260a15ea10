"""Several deployments of a model: who is asked, and who when that one fails."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from maester.errors import ConfigError
from maester.model import Inference
from maester.resilience.balancer import ordered
from maester.resilience.deployment import Deployment
from maester.router import Group, Route
from support.failing import Build, request, told
from support.upstream import Pause, Upstream, completion, error, html, json_body

MODELS = """
[models.both]
{keys}

[[models.both.deployments]]
provider = "one"
model = "m"
weight = {first}

[[models.both.deployments]]
provider = "two"
model = "m"
weight = {second}
"""


def both(keys: str = "", first: int = 1, second: int = 1) -> str:
    return MODELS.format(keys=keys, first=first, second=second)


def places(count: int) -> list[Deployment]:
    return [Deployment(route_of(f"p{n}"), None, None) for n in range(count)]


def route_of(name: str) -> Route:
    return Route("x", name, object(), "openai", "m")  # type: ignore[arg-type]


def first_asked(group: Group, deployments: list[Deployment], **changes: object) -> str:
    inference = Inference(request("x", **changes))
    return ordered(group, deployments, inference, random.Random(random.random()))[0].name


def group_of(deployments: list[Deployment], weights: tuple[int, ...], **changes: object) -> Group:
    return Group(
        tuple(route_of(each.name) for each in deployments),
        weights=weights,
        **changes,  # type: ignore[arg-type]
    )


def test_weights_divide_the_requests() -> None:
    deployments = places(3)
    group = group_of(deployments, (3, 1, 0))
    found = Counter(first_asked(group, deployments) for _ in range(4000))
    assert 2850 < found["p0"] < 3150
    assert found["p2"] == 0
    inference = Inference(request("x"))
    last = ordered(group, deployments, inference, random)[-1]
    assert last.name == "p2"


def test_the_least_busy_for_its_weight_is_asked() -> None:
    deployments = places(3)
    group = group_of(deployments, (1, 4, 1), balance="least_busy")
    for deployment, calls in zip(deployments, (1, 3, 2), strict=True):
        for _ in range(calls):
            deployment.begun()
    assert {first_asked(group, deployments) for _ in range(50)} == {"p1"}
    deployments[0].over()
    for _ in range(3):
        deployments[1].begun()
    assert {first_asked(group, deployments) for _ in range(50)} == {"p0"}


def test_the_fastest_is_asked_but_for_a_few() -> None:
    deployments = places(3)
    group = group_of(deployments, (1, 1, 1), balance="latency")
    for deployment, seconds in zip(deployments, (0.3, 0.1, 0.2), strict=True):
        deployment.took(seconds)
    found = Counter(first_asked(group, deployments) for _ in range(3000))
    assert found["p1"] > 2800
    assert found["p0"] > 10
    for _ in range(20):
        deployments[1].took(0.9)
    assert Counter(first_asked(group, deployments) for _ in range(300)).most_common(1)[0][0] == "p2"


def test_a_tag_decides_and_only_its_own_move_when_a_place_goes() -> None:
    deployments = places(4)
    group = group_of(deployments, (1, 1, 1, 1), sticky="user")
    tags = [{"user": f"u{n}"} for n in range(400)]
    before = [first_asked(group, deployments, tags=tag) for tag in tags]
    assert before == [first_asked(group, deployments, tags=tag) for tag in tags]
    assert all(70 < count < 130 for count in Counter(before).values())
    fewer = deployments[:3]
    after = [first_asked(group_of(fewer, (1, 1, 1), sticky="user"), fewer, tags=tag) for tag in tags]
    assert all(old == new for old, new in zip(before, after, strict=True) if old != "p3")
    assert len({first_asked(group, deployments) for _ in range(100)}) == 4  # without the tag, as ever


def test_the_deployment_that_answers_is_the_one_that_is_charged(
    build: Build, one: Upstream, two: Upstream
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 10}
    one.respond(completion(usage=usage))
    two.respond(completion(usage=usage))
    runtime = build(both(first=0))
    inference = runtime.execute(request("both"))
    assert inference.cost is not None
    assert inference.cost.total_usd == Decimal("0.002")
    assert (inference.route.alias, inference.route.name) == ("both", "two")


@pytest.mark.parametrize(
    "reply",
    [error(500), error(401), html(), json_body({"error": {"message": "x"}}, 429, {"Retry-After": "60"})],
)
def test_the_next_one_is_asked_at_once_when_one_fails(build: Build, one: Upstream, reply: object) -> None:
    one.respond(reply)  # type: ignore[arg-type]
    runtime = build(both(second=0), "first_delay_s = 30\nmax_delay_s = 30")
    began = time.monotonic()
    inference = runtime.execute(request("both"))
    assert time.monotonic() - began < 5
    assert [(provider, status) for provider, status, _ in told(inference)] == [
        ("one", "error"),
        ("two", "ok"),
    ]


def test_all_are_asked_once_before_any_is_asked_again(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(error(500))
    two.respond(error(500))
    inference = build(both(second=0), "retries = 1").execute(request("both"))
    assert [provider for provider, _, _ in told(inference)] == ["one", "two", "one"]


def test_a_request_that_is_wrong_is_asked_once(build: Build, one: Upstream, two: Upstream) -> None:
    one.respond(error(400))
    assert build(both(second=0)).execute(request("both")).error is not None
    assert not two.requests


def test_one_that_keeps_failing_is_left_out(build: Build, one: Upstream) -> None:
    one.respond(error(500))
    runtime = build(both())
    for _ in range(60):
        assert runtime.execute(request("both")).error is None
    assert len(one.requests) == 3


def test_one_that_is_full_is_passed_over(build: Build, one: Upstream) -> None:
    one.respond([Pause(0.5), *completion("slow")])
    runtime = build(both(second=0), provider="max_in_flight = 1")
    first = threading.Thread(target=runtime.execute, args=(request("both"),))
    first.start()
    while not one.requests:
        time.sleep(0.01)
    assert told(runtime.execute(request("both"))) == [("two", "ok", "retry: provider_busy")]
    first.join()


def test_aliases_of_one_place_stay_apart(build: Build) -> None:
    alias = '[models.{0}]\nprovider = "one"\nmodel = "m"\n'
    runtime = build(alias.format("first") + alias.format("second") + both(second=0))
    asked = ["one/m", "first", "second", "both", "first"]
    found = [runtime.execute(request(name)).route.alias for name in asked]
    assert found == [None, "first", "second", "both", "first"]


def test_a_model_may_fall_back_to_deployments(build: Build, one: Upstream) -> None:
    one.respond(error(500))
    main = '[models.main]\nprovider = "one"\nmodel = "m"\nfallbacks = ["both"]\n'
    inference = build(main + both(second=0), "retries = 0").execute(request("main"))
    assert [provider for provider, _, _ in told(inference)] == ["one", "one", "two"]


@pytest.mark.parametrize(
    ("written", "key", "said"),
    [
        (both('provider = "one"'), "models.both.provider", "is said by the deployments"),
        (both().replace('"two"', '"tow"'), "models.both.deployments[1].provider", "which is not on"),
        (both().replace('"two"', '"one"'), "models.both.deployments", "must not name one place twice"),
        (both('balance = "evenly"'), "models.both.balance", "one of weighted, least_busy, latency"),
        (both(first=-1), "models.both.deployments[0].weight", "an integer from 0"),
        ("[models.both]\ndeployments = []", "models.both.provider", "is missing"),
    ],
)
def test_what_is_wrong_with_deployments_is_told(
    build: Build, tmp_path: Path, written: str, key: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build(written)
    assert key in str(caught.value)
    assert said in str(caught.value)
