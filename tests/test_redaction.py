"""Secrets are found, words are not taken for secrets, and JSON stays JSON."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maester.redaction import Redactor

# Put together here, so that scanners of repositories do not take them for the real thing.
RUN = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1"
SECRETS = {
    "OpenAI": "sk-proj-" + RUN + "_x-" + RUN,
    "OpenAI's old form": "sk-" + RUN + RUN[:18],
    "Anthropic": "sk-ant-api03-" + RUN + "-" + RUN,
    "OpenRouter": "sk-or-v1-" + "0123456789abcdef" * 4,
    "Maester": "mk_" + RUN + "-_" + RUN[:11],
    "Google": "AIza" + "SyD-" + RUN + "x",
    "Groq": "gsk_" + RUN + RUN[:22],
    "xAI": "xai-" + RUN + RUN,
    "Hugging Face": "hf_" + RUN + "abcd",
    "Perplexity": "pplx-" + RUN + RUN[:18],
    "GitHub": "ghp_" + RUN + "abcdef",
    "GitHub's new form": "github_pat_" + RUN + "_" + RUN,
    "Slack": "xoxb-" + "123456789012-123456789012-" + RUN,
    "AWS": "AKIA" + "IOSFODNN7EXAMPLE",
    "Stripe": "sk_live_" + RUN,
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + RUN,
    "bearer": "Bearer " + RUN.lower(),
    "basic": "Basic dXNlcjpwYXNzd29yZA==",
    "basic in small letters": "basic YWxhZGRpbjpvcGVuc2VzYW1l",
}
PEM = "-----BEGIN RSA PRIVATE KEY-----\n" + f"{RUN}{RUN}+/=\n" * 6 + "-----END RSA PRIVATE KEY-----"
WORDS = [
    "task-force-and-risk-based-assessments-of-everything",
    "sk-learn-pipelines-with-many-transformers",
    "a basic understanding of authentication",
    "the bearer of bad news",
    "Bearer authentication-is-required-here",
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "01a20af7-ca63-7ac6-9ba8-261bee238fa1",
    "https://example.com:8080/path/to/something?query=1#fragment",
    "max_completion_tokens and cache_read_input_tokens",
    "xai- and hf_ and gsk_ and mk_ and AKIA alone",
    "Donaudampfschifffahrtsgesellschaftskapitän",
    "public: -----BEGIN PUBLIC KEY-----",
]

redactor = Redactor()


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("place", ["{}", "key={} and more", '"{}",', "\n{}\n", "api-key: {};", "x ({})"])
def test_every_kind_of_credential_is_taken_out_of_text(kind: str, place: str) -> None:
    secret = SECRETS[kind]
    text = place.format(secret)
    clean = redactor.redact(text)
    assert "[redacted]" in clean
    assert secret.rpartition(" ")[2] not in clean
    before, after = place.split("{}")
    assert clean.startswith(before)
    assert clean.endswith(after)
    assert redactor.redact(clean) == clean


@pytest.mark.parametrize("kind", SECRETS)
def test_every_kind_of_credential_is_taken_out_of_json(kind: str) -> None:
    value = {"text": f"first line\n{SECRETS[kind]}\nlast line", "n": [SECRETS[kind]], "ok": "ünïcode"}
    line = orjson.dumps(value)
    clean = redactor.redact_bytes(line)
    assert SECRETS[kind].rpartition(" ")[2].encode() not in clean
    read = orjson.loads(clean)
    assert read["text"].startswith("first line\n")
    assert read["text"].endswith("\nlast line")
    assert read["ok"] == "ünïcode"


def test_a_private_key_is_taken_out_whole() -> None:
    for text in (f"before {PEM} after", f"before {PEM.replace('RSA ', '')} after"):
        assert redactor.redact(text) == "before [redacted] after"
        line = orjson.dumps({"text": text})
        assert orjson.loads(redactor.redact_bytes(line)) == {"text": "before [redacted] after"}


def test_a_private_key_that_was_cut_off_is_taken_out_too() -> None:
    assert RUN not in redactor.redact(PEM[: len(PEM) // 2])


def test_the_password_of_an_address_is_taken_out() -> None:
    assert redactor.redact("postgresql://me:pass@db/x") == "postgresql://[redacted]@db/x"
    assert redactor.redact("https://me:p4ss@example.com/a:b@c") == "https://[redacted]@example.com/a:b@c"


@pytest.mark.parametrize("text", WORDS)
def test_ordinary_words_are_left_alone(text: str) -> None:
    assert redactor.redact(text) is text


@given(st.text())
def test_what_has_no_secret_is_handed_back_as_it_is(text: str) -> None:
    clean = redactor.redact(text)
    assert clean is text or "[redacted]" in clean


def test_known_values_are_taken_out_whatever_they_look_like() -> None:
    known = Redactor(
        ["correct horse", 'with "quotes" and \\', "grün-geheim", "correct horse battery", "short"]
    )
    assert known.redact("say correct horse battery staple") == "say [redacted] staple"
    assert known.redact("this is short") == "this is short"
    for secret in ('with "quotes" and \\', "grün-geheim"):
        assert known.redact(f"x{secret}y") == "x[redacted]y"
        line = orjson.dumps({"a": f"x{secret}y"})
        assert orjson.loads(known.redact_bytes(line)) == {"a": "x[redacted]y"}


def test_a_long_line_with_a_secret_at_its_end_is_cleaned() -> None:
    text = "word " * 200_000 + SECRETS["OpenAI"]
    assert redactor.redact(text) == "word " * 200_000 + "sk-[redacted]"


@pytest.mark.parametrize(
    "part", ["sk-", "-----BEGIN PRIVATE KEY-----", "://a:", "eyJ", "Bearer ", "basic ", "sk-a", "A" * 64]
)
def test_no_text_makes_it_take_long(part: str) -> None:
    """A million characters each: what grew with their square would not end within the test's patience."""
    redactor.redact(part * (1_000_000 // len(part)))


@given(st.recursive(st.none() | st.text() | st.sampled_from(list(SECRETS.values())), st.lists))
def test_json_stays_json(value: object) -> None:
    try:
        line = orjson.dumps({"value": value})
    except TypeError:  # half a surrogate pair
        return
    orjson.loads(redactor.redact_bytes(line))
