"""``maester worker``: RQ workers over the same chain as the HTTP service."""

from __future__ import annotations

import os
from contextlib import ExitStack

import click

from .context import CommandLine, common_options, pass_line
from .output import note


@click.command()
@click.option(
    "--queues",
    metavar="NAMES",
    help="Queues to take tasks from, in this order, with commas.  [default: maester-control,maester-items]",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Worker processes; each has `jobs.concurrency` inferences under way at once.",
)
@click.option("--burst", is_flag=True, help="End when nothing is left to do.")
@click.option("--embedded", is_flag=True, help="Bring a Redis along, kept in the data folder.")
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65_535),
    help="Answer `GET /metrics` at this port of `metrics.worker_host`.  [default: `metrics.worker_port`]",
)
@common_options
@pass_line
def worker(
    line: CommandLine,
    queues: str | None,
    processes: int,
    burst: bool,
    embedded: bool,
    metrics_port: int | None,
) -> None:
    """Run background work.

    SIGTERM and Ctrl-C let items in flight end and hand the rest back, within `jobs.grace_s`. The log, one
    JSON object a line, goes to stdout.
    """
    from maester.jobs.endpoint import MetricsEndpoint
    from maester.jobs.queue import QUEUES, address_of, shown
    from maester.jobs.supervisor import Supervisor
    from maester.logs import configure
    from maester.runtime import Runtime

    with ExitStack() as stack:
        redis = None
        if embedded:
            from maester.jobs.embedded import EmbeddedRedis

            os.environ["MAESTER_JOBS__EMBEDDED"] = "true"
            redis = stack.enter_context(EmbeddedRedis(line.settings().data_dir))
        runtime = stack.enter_context(Runtime.build(line.config))
        configure(runtime.settings)
        metrics = runtime.settings.metrics
        port = metrics_port or metrics.worker_port
        endpoint = None
        if port is not None:
            endpoint = stack.enter_context(MetricsEndpoint(runtime, metrics.worker_host, port))
        names = tuple(name.strip() for name in queues.split(",") if name.strip()) if queues else QUEUES
        note(
            f"Maester worker: {processes} {'process' if processes == 1 else 'processes'}, queues"
            f" {', '.join(names)}, redis {shown(address_of(runtime.settings))}"
        )
        Supervisor(
            runtime,
            queues=names,
            processes=processes,
            burst=burst,
            watch=redis.watch if redis is not None else None,
            endpoint=endpoint,
        ).run()
