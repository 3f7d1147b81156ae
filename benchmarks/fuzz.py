"""Fuzz the parser of posted events, led by coverage (libFuzzer's way, through atheris).

    pip install atheris
    python -m benchmarks.fuzz --minutes 10 [--corpus FOLDER]

Every input goes through what `tests/faults/posted.py` demands: no failure but InputError, each refusal with its index,
field and reason, all events accounted for, and what was accepted can be read back and learned. Half of the inputs are
sound events spoiled as JSON, half are libFuzzer's own changes of bytes. A finding ends the run, with the input in a
file `crash-*`, and its traceback; `--again FILE` runs one again. The last lines say how many inputs were run, how many
posts were refused as a whole, and how many events were taken and refused. libFuzzer's `cov` counts the branches of our
modules that were reached, `ft` how they were combined.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Final

_WATCHED: Final = ("pipeline.logs.decode", "pipeline.logs.validate", "pipeline.logs.wire", "pipeline.logs.taken")
_MODULES: Final = (
    *_WATCHED,
    "pipeline.logs.forget",
    "pipeline.logs.storage.forgotten",
    "serving.events",
    "serving.joins",
)
_LONGEST: Final = 16_384  # bytes of an input
_WHOLE: Final = 8  # one input in so many is also read back and learned, which takes longer than all the rest


def run(minutes: float, corpus: Path, seed: int) -> None:
    """Until the time is over, or something is found: libFuzzer ends the process."""
    try:
        import atheris  # type: ignore[import-untyped]
    except ImportError:
        raise SystemExit("benchmarks.fuzz needs atheris: pip install atheris") from None
    with atheris.instrument_imports(include=list(_MODULES)):
        from tests.faults import posted

    counts: Counter[str] = Counter()
    started = time.monotonic()

    def one(data: bytes) -> None:
        counts["inputs"] += 1
        held = posted.check(data, whole=counts["inputs"] % _WHOLE == 0)
        counts["posts refused"] += held is None
        if held is not None:
            counts["events taken"] += len(held.rows)
            counts["events refused"] += held.refused
        if time.monotonic() - started > 60 * minutes - 2 and not counts["told"]:
            counts["told"] = 1
            print({name: count for name, count in counts.items() if name != "told"}, flush=True)

    def change(data: bytes, most: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        try:
            value = posted.mutated(json.loads(data), chance)
            return posted.written(value).encode()[:most]
        except (ValueError, RecursionError):
            return posted.spoiled(chance)[:most]

    plant(corpus, posted)
    options = (f"-max_total_time={int(60 * minutes)}", f"-max_len={_LONGEST}", f"-seed={seed}", "-timeout=30")
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], one, custom_mutator=change)
    atheris.Fuzz()


def plant(corpus: Path, posted: Any) -> None:
    """Sound posts to begin with."""
    corpus.mkdir(parents=True, exist_ok=True)
    events = [posted.good(kind, number) for number, kind in enumerate(posted.TYPES)]
    for number, value in enumerate((*events, events, [])):
        (corpus / f"sound-{number}").write_text(json.dumps(value), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--corpus", type=Path, help="inputs to begin with, where those that reach more are added")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", type=Path, help="run this input alone, without atheris")
    arguments = parser.parse_args()
    if arguments.again:
        from tests.faults.posted import check

        print(check(arguments.again.read_bytes()))
        return
    with tempfile.TemporaryDirectory() as folder:  # left behind: libFuzzer ends the process
        run(arguments.minutes, arguments.corpus or Path(folder), arguments.seed)


if __name__ == "__main__":
    main()
