"""A part of a report that fails costs that part, with its reason told, and never the report."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from pipeline.errors import PodiumError

Made = TypeVar("Made")
_OURS: Final = Path(__file__).parents[2]


@dataclass(slots=True)
class Sections:
    """failed: part -> why it is not there."""

    failed: dict[str, str] = field(default_factory=dict)

    def attempt(self, name: str, make: Callable[[], Made], instead: Made) -> Made:
        """What `make` gives; where it fails, `instead`, and the reason is kept."""
        try:
            return make()
        except Exception as error:
            self.failed[name] = reason_of(error)
            return instead


def reason_of(error: Exception) -> str:
    """Podium's own sentence; of any other error where it came up, since its text is of a library."""
    if isinstance(error, PodiumError):
        return str(error)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _ours(Path(frame.filename))]
    place = f"{Path(frames[-1].filename).relative_to(_OURS)}:{frames[-1].lineno}" if frames else "an unknown place"
    return f"a fault of Podium's own at {place} ({type(error).__name__}); please report it"


def _ours(path: Path) -> bool:
    return path.is_relative_to(_OURS) and ".venv" not in path.parts
