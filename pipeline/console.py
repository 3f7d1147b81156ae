"""What every command shares: errors as one sentence, results as lines or JSON, options that are more than text."""

import errno
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from pipeline.artifacts import finite
from pipeline.errors import InputError, PodiumError


class Commands(click.Group):
    """Turns Podium's errors into one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except PodiumError as error:
            click.echo(f"podium {ctx.invoked_subcommand}: {error}", err=True)
            sys.exit(error.exit_code)
        except Exception as error:
            if (why := _of_files(error)) is None:
                raise
            click.echo(f"podium {ctx.invoked_subcommand}: {why}", err=True)
            sys.exit(InputError.exit_code)


def _of_files(error: Exception) -> str | None:
    """What a file, a folder or the disk failed at. Polars tells it in errors of its own, which quote the system's."""
    if isinstance(error, OSError) and error.errno is not None:
        where = error.filename or "files"
        return None if error.errno == errno.EPIPE else f"{where}: a path that can be used here ({error.strerror})"
    polars = sys.modules.get("polars.exceptions")
    of_polars = isinstance(error, OSError) or (polars is not None and isinstance(error, polars.PolarsError))
    told = " ".join(str(error).split())
    return f"files: paths that can be used here ({told})" if of_polars and "os error" in told else None


def show(values: Mapping[str, Any], json_: bool, lines: Callable[[], list[str]] | None = None) -> None:
    """Print a result: JSON where a machine reads, else lines."""
    if json_:
        click.echo(json.dumps(finite(values), default=str, allow_nan=False))
        return
    for line in lines() if lines else [f"{name:<14}{value}" for name, value in values.items()]:
        click.echo(line)


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """KEY=VALUE options as a dict."""
    if bad := [text for text in given if not text.partition("=")[1]]:
        raise InputError(option, "KEY=VALUE", received=bad[0])
    return {key: value for key, _, value in (text.partition("=") for text in given)}


def duration(text: str, option: str) -> int:
    """`30m`, `24h` or `7d` in milliseconds."""
    units = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
    if not text[:-1].isdecimal() or text[-1] not in units:
        raise InputError(option, "a number and m, h or d, such as 24h", received=text)
    return int(text[:-1]) * units[text[-1]]


def counted(report: Callable[[str, float], None]) -> Callable[[int, int], None]:
    """A report of shares as one of counts."""
    return lambda done, total: report("reading", done / max(total, 1))
