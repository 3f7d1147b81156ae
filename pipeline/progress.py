"""Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere, nothing under --json."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str, float], None]  # what is being done, and the share of it that is done (0 to 1)


def silent(_what: str, _share: float) -> None:
    """Report to nobody."""


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Report]:
    """Yield a function to report to. Output goes to stderr, so that stdout stays the result."""
    if quiet:
        yield silent
    elif sys.stderr.isatty():
        with _bar(title) as report:
            yield report
    else:
        yield _lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def report(what: str, share: float) -> None:
            bar.update(task, description=f"{title}: {what}", completed=share)

        yield report


def _lines(title: str) -> Report:
    started, last = time.monotonic(), ""

    def report(what: str, _share: float) -> None:
        nonlocal last
        if what != last:
            last = what
            sys.stderr.write(f"{title}: {what} ({time.monotonic() - started:.0f} s)\n")

    return report
