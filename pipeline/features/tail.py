"""What came since, in a few runs of falling size, so that adding to them costs little however much there is.

As in the logarithmic method (Bentley and Saxe, 1980): rows are added to a small run; when it is no longer small it is
put together with those before it that are not much larger. A row is copied a few times for each factor `_RATIO` that
all of them have grown by, and as many runs have to be asked.
"""

from typing import Final, Protocol, Self, TypeVar

SMALL: Final = 4096  # rows; about here the rows of a run begin to cost more than the calls that move them
_RATIO: Final = 16


class Mergeable(Protocol):
    @property
    def rows(self) -> int: ...
    def merge(self, other: Self) -> Self: ...


_Run = TypeVar("_Run", bound=Mergeable)


def appended(runs: tuple[_Run, ...], more: _Run, kept: int = 0) -> tuple[_Run, ...]:
    """Runs that hold what is in `more` as well, none of them empty. kept: so many at the front stay as they are."""
    if not more.rows:
        return runs
    live = list(runs[kept:])
    if live and live[-1].rows < SMALL:
        more = live.pop().merge(more)
    while live and more.rows >= SMALL and live[-1].rows <= _RATIO * more.rows:
        more = live.pop().merge(more)
    return (*runs[:kept], *live, more)
