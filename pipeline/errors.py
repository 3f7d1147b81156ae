"""The errors Podium raises. Each says what was wrong, where, what was expected and how to mend it."""


class PodiumError(Exception):
    """The one class a caller must catch. `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(PodiumError):
    """What came from outside is not what was asked for.

    field: what is wrong (`items[0].position`, `--by`); place: the file, line or request it stood in;
    expected: what would have been right, with the fix.
    """

    exit_code = 2

    def __init__(self, field: str, expected: str, *, place: str = "", received: object = None) -> None:
        self.field, self.expected, self.place, self.received = field, expected, place, received
        where = f"{place}: " if place else ""
        got = "" if received is None else f"; received {received!r}"[:200]
        # Reasons of other libraries come in many lines; an error of ours is one.
        super().__init__(" ".join(f"{where}{field}: {expected}{got}".split()))


class ConfigError(InputError):
    """The configuration cannot be a pipeline: the process refuses to start."""


class ArtifactError(InputError):
    """Files on disk are not what was published: the bundle in use stays."""


class StageError(PodiumError):
    """A stage failed and declares no fallback. `stage` names it, the cause is chained."""

    def __init__(self, stage: str, reason: str) -> None:
        self.stage = stage
        super().__init__(f"stage {stage}: {reason}")


class GateError(PodiumError):
    """The numbers do not pass the gate."""

    exit_code = 3
