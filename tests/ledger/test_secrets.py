"""No secret reaches the journal or the ledger, wherever in an inference it stands."""

from __future__ import annotations

from typing import Any

import pytest

from maester.errors import ProviderAuth
from maester.record import record_of
from support.inferences import answer, open_inference
from support.recorder import Recorder

KNOWN = "the provider's password"
TOKEN = "sk-proj-" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1" * 2

WHERE: dict[str, dict[str, Any]] = {
    "question": {"prompt": "My key is {}, keep it."},
    "answer": {"output": "Your key is {}."},
    "alias": {"alias": "id-{}"},
    "user": {"user": "{}"},
    "session": {"session": "{}"},
    "tag": {"tags": {"key": "{}"}},
    "error": {"error": "The key {} is wrong."},
}


@pytest.mark.parametrize("secret", [KNOWN, TOKEN])
@pytest.mark.parametrize("where", WHERE)
def test_no_secret_is_written_down(tmp_path: Any, where: str, secret: str) -> None:
    given = {name: _filled(value, secret) for name, value in WHERE[where].items()}
    output = given.pop("output", "Nothing secret.")
    error = given.pop("error", None)
    with Recorder(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path, secrets=[KNOWN]) as recorder:
        inference = open_inference(**given)
        recorder.sink.admit(inference)
        failed = ProviderAuth(error, provider="openai", provider_message=error) if error else None
        record = record_of(answer(inference, output, error=failed))
        recorder.sink.settle(record)
        assert recorder.sink.flush(20)
        journal = recorder.journal
        found = recorder.ledger.get(inference.request_id)
        (summary,) = recorder.ledger.list().items
    assert secret.encode() not in journal
    assert secret not in str(found)
    assert secret not in str(summary)
    assert "[redacted]" in str(found)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert secret.encode() not in written
    assert secret in str(record), "what other sinks are given is not changed"


def test_a_secret_of_the_question_is_not_in_the_replay_either(local: Recorder, tmp_path: Any) -> None:
    with Recorder(local.url, tmp_path / "dying") as dying:
        inference = open_inference(f"My key is {TOKEN}.")
        dying.sink.admit(inference)
        for path in dying.segments:
            target = local.settings.journal_dir / f"copied.{path.name.partition('.')[2]}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    assert local.sink.sweep(20)
    found = local.ledger.get(inference.request_id)
    assert found is not None
    assert found["content"]["messages"] == [{"role": "user", "content": "My key is sk-[redacted]."}]


def _filled(value: Any, secret: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled(item, secret) for name, item in value.items()}
    return value.format(secret)
