"""``maester completion``: what makes the shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .output import write

_SHELLS = ("bash", "fish", "zsh")


@click.command(
    epilog="\b\nbash: echo 'eval \"$(maester completion bash)\"' >> ~/.bashrc\n"
    "zsh:  echo 'eval \"$(maester completion zsh)\"' >> ~/.zshrc\n"
    "fish: maester completion fish > ~/.config/fish/completions/maester.fish"
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script for completion in the shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.", context)
    root = context.find_root().command
    write(kind(root, {}, "maester", "_MAESTER_COMPLETE").source())
