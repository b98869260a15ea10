"""``maester enrich``: one inference for each row of a table."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maester.errors import InvalidRequest, UnknownPrice

from .checks_option import checks_option
from .context import CommandLine, common_options, pass_line
from .output import note
from .run import default_model
from .values import amount, finite, pairs, parameters

if TYPE_CHECKING:
    from maester.enrichment import Enricher, Estimator, Options, Plan, State, Stop
    from maester.runtime import Runtime

    from .enrich_report import Report

_SOON_S, _LEDGER_S = 1.0, 60.0
"""Seconds for which the ledger is waited for without a word, and with one: it may be behind a fast run."""

_MADE_BY_THE_COMMAND = ("messages", "model", "stream")


_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="INPUT")
@click.option("-o", "--output", type=_FILE, required=True, help="A .jsonl or .csv, in the input's order.")
@click.option("-f", "--prompt-file", type=_FILE, help="The prompt's Jinja2 template.")
@click.option("--prompt", help="The prompt's template itself: 'Summarise {{ text }}'.")
@click.option("-c", "--column", default="answer", show_default=True, help="The column for the answers.")
@click.option("-m", "--model", help="An alias, provider/model, or a model's name.")
@click.option("-s", "--system", help="The system message.")
@click.option("--system-file", type=_FILE, help="A file with the system message.")
@click.option(
    *("-p", "--param", "--parameter", "parameters"),
    multiple=True,
    metavar="NAME=VALUE",
    callback=parameters,
    help="A parameter for the provider, such as max_tokens=200, its value as JSON.  [repeatable]",
)
@click.option("--json-output", is_flag=True, help="Ask for JSON, and put the value into the column.")
@checks_option
@click.option(
    *("-t", "--tag", "tags"),
    multiple=True,
    metavar="NAME=VALUE",
    callback=pairs,
    help="A label for attribution.  [repeatable]",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 512), default=16, show_default=True, help="Most rows at once."
)
@click.option(
    "--max-cost",
    metavar="USD",
    callback=amount("5.00", positive=True),
    help="End before more than this is spent.",
)
@click.option("--max-failures", type=click.IntRange(min=1), help="End when so many rows have failed.")
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=5,
    show_default=True,
    help="How often a row is tried again after an error that may pass.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Seconds for each row.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many rows.")
@click.option("--delimiter", help="Between the fields of a CSV; found out unless given.")
@click.option("--retry-failed", is_flag=True, help="Run the rows that failed, and only those.")
@click.option("--restart", is_flag=True, help="Throw away what was done, and the output.")
@click.option("--write-partial", is_flag=True, help="Write the output also when the run ends early.")
@click.option("--dry-run", is_flag=True, help="Show the first prompts and an estimate; send nothing.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary on stderr.")
@common_options
@pass_line
def enrich(line: CommandLine, /, table: Path, quiet: bool, **asked: Any) -> int:
    """Run one inference for each row of a table, and write the answers beside the rows.

    INPUT is a .csv, .tsv or .jsonl. Run the same command again to go on after Ctrl-C, a crash or a
    limit: what is done is kept in a file beside the output and never paid for twice.
    """
    from maester.enrichment import Enricher, Estimator, Input, Options, Stop, open_state, write_output

    from .enrich_report import Report, show_forecast

    plan = _plan(asked)
    source = Input(table, _delimiter(asked["delimiter"]))
    plan.check(source)
    options = Options(
        concurrency=asked["concurrency"],
        max_cost_usd=asked["max_cost"],
        max_failures=asked["max_failures"],
        retries=asked["retries"],
        limit=asked["limit"],
        retry_failed=asked["retry_failed"],
    )
    with line.runtime() as runtime:
        plan = _checked(runtime, plan)
        route = runtime.router.resolve(plan.model)
        estimator = Estimator(runtime.price_book, runtime.router.routes(plan.model), plan.parameters)
        if asked["dry_run"]:
            return show_forecast(plan, source, estimator, options, as_json=line.json)
        _refuse_unpriced(estimator, options, plan)
        with closing(open_state(plan, source, route.address, restart=asked["restart"])) as state:
            _refuse_unbounded(state, options)
            estimator.largest_output = state.largest_output
            enricher = Enricher(runtime, plan, source, state, estimator, options)
            report = Report(plan, state, options, enricher)
            why = _watched(enricher, report, quiet)
            written = None
            if why is not Stop.ABANDONED and (enricher.complete or asked["write_partial"]):
                written = write_output(plan, source, state, enricher.progress().total)
            code = report.end(why, written, as_json=line.json, quiet=quiet)
        if why is not Stop.ABANDONED:
            _wait_for_ledger(runtime)
        return code


def _plan(asked: Mapping[str, Any]) -> Plan:
    from maester.enrichment import Plan, PromptTemplate

    if (asked["prompt"] is None) == (asked["prompt_file"] is None):
        raise click.UsageError("Give either --prompt-file or --prompt.", click.get_current_context())
    if asked["system"] is not None and asked["system_file"] is not None:
        raise click.UsageError("Give either --system-file or --system.", click.get_current_context())
    made = [name for name in _MADE_BY_THE_COMMAND if name in asked["parameters"]]
    if made:
        raise click.UsageError(f"--param {made[0]} is not for you to set.", click.get_current_context())
    if asked["prompt_file"] is not None:
        template = PromptTemplate(_text(asked["prompt_file"]), str(asked["prompt_file"]))
    else:
        template = PromptTemplate(asked["prompt"], "--prompt")
    return Plan(
        template=template,
        model=asked["model"] or "",
        column=asked["column"],
        output=asked["output"],
        system=_text(asked["system_file"]) if asked["system_file"] is not None else asked["system"],
        parameters=asked["parameters"],
        checks=asked["checks"],
        tags=asked["tags"],
        timeout_s=asked["timeout"],
        json=asked["json_output"],
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InvalidRequest(f"{path} is not UTF-8 text.") from exc


def _delimiter(given: str | None) -> str | None:
    found = "\t" if given in ("\\t", "tab") else given
    if found is not None and (len(found) != 1 or found in '"\r\n'):
        raise click.UsageError("--delimiter takes one character, or tab.", click.get_current_context())
    return found


def _checked(runtime: Runtime, plan: Plan) -> Plan:
    """The plan with a model, and made sure of its checks."""
    from maester.checks import resolve_checks

    if plan.checks is not None:
        resolve_checks(plan.checks, runtime.registry.evaluators, param="--evaluate")
    return replace(plan, model=plan.model or default_model(runtime))


def _refuse_unpriced(estimator: Estimator, options: Options, plan: Plan) -> None:
    if options.max_cost_usd is not None and estimator.at_most(1) is None:
        raise UnknownPrice(
            f"No price is known for {plan.model}, so --max-cost could not be kept: unknown is not zero."
            " Tell the price under [[prices]] in the configuration, or run without a limit."
        )


def _refuse_unbounded(state: State, options: Options) -> None:
    if options.max_cost_usd is not None and state.unbounded:
        raise UnknownPrice(
            f"{state.unbounded} inferences of earlier runs have no known cost, so --max-cost cannot be kept."
            " Run without it, or begin anew with --restart."
        )


def _watched(enricher: Enricher, report: Report, quiet: bool) -> Stop:
    """Run, and show how far it is."""
    from .enrich_progress import shown

    if not quiet:
        report.say_what_is_resumed()
    with _interruptible(enricher), shown(quiet) as tick:
        return enricher.run(tick)


def _wait_for_ledger(runtime: Runtime) -> None:
    if not runtime.flush(_SOON_S):
        note("Writing what is left to the ledger …")
        runtime.flush(_LEDGER_S)


@contextmanager
def _interruptible(enricher: Enricher) -> Iterator[None]:
    """Ctrl-C lets what is in flight end, a second one does not; SIGTERM is like the first."""

    times = 0

    def interrupted(number: int, frame: object) -> None:
        nonlocal times
        times += number == signal.SIGINT
        if times > 1:
            enricher.abandon()
            return
        enricher.stop()
        note("Stopping: rows in flight end, no more are started. Ctrl-C again ends at once.")

    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
