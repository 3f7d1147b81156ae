"""Commands for the analyst: what a log says about examination, policies and past evaluations."""

from typing import Final

import click

COMMANDS: Final[tuple[click.Command, ...]] = ()
