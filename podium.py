"""Podium on the command line: the table of contents of the whole system, one short function a command.

Heavy libraries are imported inside the commands, so that `podium --help` answers at once.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from pipeline.errors import PodiumError
from pipeline.threads import configure_threads

PATH = click.Path(path_type=Path)
as_json = click.option("--json", "json_", is_flag=True, help="Print the result as JSON, without progress.")
config_file = click.option("--config", type=PATH, help="A podium.toml; without it the defaults.")


class Commands(click.Group):
    """Turns Podium's errors into one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except PodiumError as error:
            click.echo(f"podium {ctx.invoked_subcommand}: {error}", err=True)
            sys.exit(error.exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option("0.1.0", prog_name="podium")
def cli() -> None:
    """Search and recommendation ranking: from a log of what people were shown to a ranked page."""


def main() -> None:
    configure_threads(2)
    cli()


def show(values: Mapping[str, Any], json_: bool, lines: Callable[[], list[str]] | None = None) -> None:
    """Print a result: JSON where a machine reads, else lines."""
    if json_:
        click.echo(json.dumps(values, default=str))
        return
    for line in lines() if lines else [f"{name:<14}{value}" for name, value in values.items()]:
        click.echo(line)


if __name__ == "__main__":
    main()
