"""What is made of items that were answered before their worker died."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from maester.jobs import recovery
from maester.jobs.model import CHAT, GENERATE, Item
from maester.model import Request
from support.place import Place


@pytest.mark.parametrize("url", [CHAT, GENERATE])
def test_an_answer_on_record_is_the_items_answer(place: Place, url: str) -> None:
    request = Request("echo", [{"role": "user", "content": "one two three"}])
    inference = place.runtime.execute(request).raise_for_error()
    assert place.runtime.flush()
    job = place.submit(1)
    taken = place.jobs.chunks.take(job.id, 0, "nobody")
    assert taken is not None
    answered = Item(0, None, url, "{}", "running", inference.request_id)
    (outcome,) = recovery.resolve(place.runtime, replace(taken, stuck=(answered,)))
    assert (outcome.state, outcome.status_code) == ("done", 200)
    body = orjson.loads(outcome.result or "")
    response = inference.response
    assert response is not None
    assert response.usage is not None
    assert body["usage"]["total_tokens" if url == CHAT else "input_tokens"] > 0
    if url == GENERATE:
        assert (body["output"], body["recovered"]) == (response.output, True)
        return
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"] == response.output
    assert body["usage"]["completion_tokens"] == response.usage.output_tokens
    assert body["maester"]["recovered"] is True
