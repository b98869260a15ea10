"""``maester run``: one prompt through the whole chain, as if it had come over HTTP."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from . import exits
from .checks_option import checks_option
from .context import CommandLine, common_options, pass_line, read_text
from .output import note, printable, report, write_document, write_exactly, write_line
from .values import finite, pairs, parameters

if TYPE_CHECKING:
    from maester.inference import Inference
    from maester.model import Request
    from maester.runtime import Runtime

_SHOWN_NAMES = 20


@click.command()
@click.argument("prompt", required=False)
@click.option("-m", "--model", help="An alias, provider/model, or a model's name.")
@click.option("-s", "--system", help="The system message.")
@click.option("--stream", is_flag=True, help="Print the answer as it arrives.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Most tokens of the answer.")
@click.option("--temperature", type=float, callback=finite, help="How much chance there is in the answer.")
@click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    callback=parameters,
    help="Any other parameter for the provider, its value as JSON.  [repeatable]",
)
@checks_option
@click.option(
    "--on-failure", type=click.Choice(["observe", "block"]), help="What a failed check does to the answer."
)
@click.option(
    "-t",
    "--tag",
    "tags",
    multiple=True,
    metavar="NAME=VALUE",
    callback=pairs,
    help="A label for attribution.  [repeatable]",
)
@click.option("--user", help="The end user, for attribution.")
@click.option("--session", help="The conversation, for attribution.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Seconds for all of it.",
)
@click.option("-q", "--quiet", is_flag=True, help="No summary on stderr.")
@common_options
@pass_line
def run(line: CommandLine, /, prompt: str | None, quiet: bool, **asked: Any) -> int:
    """Send one prompt through the chain and print the answer.

    The answer goes to stdout, one line about it to stderr. `-` reads the prompt from stdin. Without
    --model the only model that is configured answers, or `echo` when no other provider is on.
    """
    text = _prompt(prompt)
    with line.runtime() as runtime:
        request = _request(runtime, text, asked)
        show = _stream if request.stream else _execute
        inference = show(runtime, request, line.json)
        if inference.error is not None:
            report(
                inference.error,
                as_json=line.json,
                request_id=inference.request_id,
                trace_id=inference.trace_id,
            )
        if not quiet and not line.json:
            note(summary(inference))
        if inference.error is not None:
            return exits.code_of(inference.error)
        refused = asked["checks"] is not None and inference.passed is False
        return exits.NOT_ACCEPTABLE if refused else exits.OK


def _prompt(prompt: str | None) -> str:
    if prompt is None:
        if sys.stdin.isatty():
            raise click.UsageError("Give a prompt, or - to read it from stdin.", click.get_current_context())
        prompt = "-"
    text = read_text(prompt)
    if prompt == "-":
        text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise click.UsageError("The prompt is empty.", click.get_current_context())
    return text


def _request(runtime: Runtime, prompt: str, asked: Mapping[str, Any]) -> Request:
    from maester.model import Message, Request

    messages: list[Message] = [{"role": "user", "content": prompt}]
    if asked["system"]:
        messages.insert(0, {"role": "system", "content": asked["system"]})
    parameters = dict(asked["parameters"])
    for name in ("max_tokens", "temperature"):
        if asked[name] is not None:
            parameters[name] = asked[name]
    return Request(
        model=asked["model"] or default_model(runtime),
        messages=messages,
        parameters=parameters,
        stream=asked["stream"],
        checks=asked["checks"],
        on_failure=asked["on_failure"],
        tags=asked["tags"],
        user=asked["user"],
        session=asked["session"],
        timeout_s=asked["timeout"],
    )


def default_model(runtime: Runtime) -> str:
    """The model that is meant when none is named.

    :raises click.UsageError: when there is more than one that could be.
    """
    settings = runtime.settings
    providers = [name for name in runtime.registry.providers if not _echoes(runtime, name)]
    named = list(settings.models)
    for name in providers:
        configured = settings.providers.get(name)
        named += [f"{name}/{model}" for model in (configured.models if configured else ())]
    if len(named) == 1:
        return named[0]
    if not named and not providers:
        for model, _ in runtime.router.models():
            return model
    known = named or [model for model, provider in runtime.router.models() if provider in providers]
    shown = ", ".join(known[:_SHOWN_NAMES])
    more = f" and {len(known) - _SHOWN_NAMES} more" if len(known) > _SHOWN_NAMES else ""
    choice = f" There are: {shown}{more}." if known else f" On are: {', '.join(providers) or 'no providers'}."
    raise click.UsageError(f"Say which model with --model.{choice}", click.get_current_context(silent=True))


def _echoes(runtime: Runtime, name: str) -> bool:
    configured = runtime.settings.providers.get(name)
    return configured is not None and configured.type == "echo"


def _execute(runtime: Runtime, request: Request, as_json: bool) -> Inference:
    inference = runtime.execute(request, entry_point="cli")
    if inference.error is None and inference.response is not None:
        if as_json:
            write_document(_document(inference))
        else:
            write_exactly(inference.response.output + "\n")
            for call in _tool_calls(inference):
                write_line(call)
    return inference


def _stream(runtime: Runtime, request: Request, as_json: bool) -> Inference:
    """Pieces as they arrive; as JSON a line ``{"delta": …}`` for each, and last the whole document."""
    stream = runtime.stream(request, entry_point="cli")
    inference = stream.inference
    last = ""
    try:
        for chunk in stream:
            for text in _texts(chunk.body):
                if as_json:
                    write_line({"delta": text})
                else:
                    write_exactly(text)
                last = text
    finally:
        stream.close()
    if last and not as_json and not last.endswith("\n"):
        write_exactly("\n")
    if inference.error is None and inference.response is not None:
        if as_json:
            write_line(_document(inference))
        else:
            for call in _tool_calls(inference):
                write_line(call)
    return inference


def _texts(chunk: Mapping[str, Any]) -> list[str]:
    """What a piece adds to the first choice."""
    first = [choice for choice in chunk.get("choices") or () if not choice.get("index")]
    texts = [(choice.get("delta") or {}).get("content") for choice in first]
    return [text for text in texts if text]


def _tool_calls(inference: Inference) -> Sequence[Any]:
    """What the model wants called, where it answered with that."""
    choices = inference.response.body.get("choices") if inference.response is not None else None
    message = (choices[0].get("message") or {}) if choices else {}
    calls: Sequence[Any] = message.get("tool_calls") or ()
    return calls


def _document(inference: Inference) -> dict[str, Any]:
    from maester.web.generate import generation  # brings flask, which nothing else here needs

    return generation(inference)


def summary(inference: Inference) -> str:
    """One line: which request, which model, how many tokens, at what cost, how good, how long."""
    from maester.record import decimal_text, usage_view

    route, response = inference.route, inference.response
    model = f"{route.name}/{route.model}" if route is not None else inference.request.model
    if route is not None and response is not None and response.model and response.model != route.model:
        model += f" ({response.model})"
    usage = usage_view(inference)
    spent = ["no tokens reported" if inference.attempts else "not sent"]
    if usage is not None:
        about = "about " if usage.get("estimated") else ""
        amount = decimal_text(inference.cost.total_usd) if inference.cost is not None else None
        spent = [
            f"{about}{usage['input_tokens']} + {usage['output_tokens']} tokens",
            f"cost {f'${amount}' if amount is not None else 'unpriced'}",
        ]
    pending = any(each.state == "pending" for each in inference.evaluations or ())
    verdict = {True: "passed", False: "failed", None: "pending" if pending else "none"}[inference.passed]
    parts = [
        f"request {inference.request_id}",
        printable(model),
        *spent,
        f"evaluation {verdict}",
        f"{inference.duration_s or 0:.3f} s",
    ]
    parts += [f"fault: {printable(fault.message)}" for fault in inference.faults]
    return click.style(" · ".join(parts), dim=True)
