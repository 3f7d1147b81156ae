"""A log without those who asked to be forgotten, and without days that are too old: every other day stays as it is.

A forgotten user who comes back is somebody new and has another name in the log, so a row says by itself whether it
is of before: forgetting again takes nothing from the one who came back.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Final

import polars as pl

from pipeline.logs.decode import MAX_RAW
from pipeline.logs.events import HAPPENED, TYPES
from pipeline.logs.grow import QUARANTINE, keep_refused
from pipeline.logs.partitions import (
    CLEARED,
    MANIFEST,
    count_rows,
    day_file,
    days,
    link,
    locked,
    read_manifest,
    replaced,
    write_days,
    write_manifest,
)
from pipeline.logs.read import STATE
from pipeline.logs.storage.forgotten import Forgotten

SEPARATOR: Final = "\x1f"
_TOKEN: Final = re.compile(r"""("(?:[^"\\]|\\.)*(?:"|\\?$))|[^\s,;:(){}\[\]"'`]+""")


def stranger(user: str, forgotten: Forgotten) -> str:
    """The name of a user in logs and states: who was forgotten comes back as somebody new."""
    times = forgotten.times(user)
    return f"{user}{SEPARATOR}{times}" if times else user


def is_gone(name: str, forgotten: Forgotten) -> bool:
    """Whether the name of a user in a log is of somebody who was forgotten since."""
    if forgotten.times(name):
        return True
    user, separator, times = name.rpartition(SEPARATOR)
    return bool(separator) and times.isdecimal() and int(times) < forgotten.times(user)


@dataclass(frozen=True, slots=True)
class Leaving:
    """Those who have to leave logs: everybody whom a store, known by its id, was ever told to forget."""

    store: str
    forgotten: Forgotten

    @property
    def note(self) -> dict[str, object]:
        """What the manifest of a log says that holds nothing of them; it changes with everyone who joins them."""
        return {"id": self.store, "times": sum(mark.times for mark in self.forgotten.marks.values())}

    def may_be_in(self, facts: Mapping[str, object]) -> bool:
        """By the manifest of a log."""
        return bool(self.forgotten) and facts.get(CLEARED) != self.note


def forget_in(log: Path, leaving: Leaving) -> dict[str, int]:
    """Remove forgotten users' rows from a log that nothing else is done to, and from its state: how many by type.

    A log without rows of theirs is not touched. Raises ArtifactError when there is no log, InputError while another
    job is at work on it.
    """
    with locked(log):
        if not leaving.may_be_in(read_manifest(log)) or not _mentions(log, leaving.forgotten):
            return {}
        with replaced(log) as draft:
            return _forget_tree(log, draft, leaving)


def _forget_tree(log: Path, draft: Path, leaving: Leaving) -> dict[str, int]:
    removed = Counter(without(log, draft, leaving.forgotten))
    if (log / STATE / MANIFEST).is_file():
        removed += Counter(_forget_tree(log / STATE, draft / STATE, leaving))
    facts = read_manifest(log) | {CLEARED: leaving.note}
    kept = {name: value for name, value in facts.items() if name not in ("schema", "clock", "events")}
    write_manifest(draft, str(facts["clock"]), **kept)
    return dict(removed)


def _mentions(log: Path, forgotten: Forgotten) -> bool:
    logs = [log, log / STATE] if (log / STATE / MANIFEST).is_file() else [log]
    if any(_users(path, forgotten) for each in logs for _, _, path in _parts(each)):
        return True
    return any(row is None for path in (log / QUARANTINE).glob("*.jsonl") for row in _refused(path, forgotten))


def without(log: Path, target: Path, forgotten: Forgotten) -> dict[str, int]:
    """Write into `target` the rows of `log` that are not of these users: how many were, by type and in quarantine.

    Days without them are linked. A day that loses rows has the bytes it had if they had never been there.
    """
    removed: Counter[str] = Counter()
    target.mkdir(exist_ok=True)
    for kind, day, path in _parts(log):
        users = _users(path, forgotten)
        if not users:
            link(path, day_file(target, kind, day))
            continue
        rows = pl.read_parquet(path, glob=False)
        kept = rows.filter(~pl.col("user_id").is_in(users).fill_null(value=False))
        write_days(target, kind, kept)
        removed[kind] += len(rows) - len(kept)
    for path in sorted((log / QUARANTINE).glob("*.jsonl")):
        removed[QUARANTINE] += _clean(path, target, forgotten)
    return dict(+removed)


def _parts(log: Path) -> Iterator[tuple[str, int, Path]]:
    for kind in TYPES:
        for day in days(log, kind):
            yield kind, day, day_file(log, kind, day)


def _users(path: Path, forgotten: Forgotten) -> list[str]:
    """The forgotten users a file names."""
    if "user_id" not in pl.scan_parquet(path, glob=False).collect_schema():
        return []
    named = pl.scan_parquet(path, glob=False).select(pl.col("user_id").drop_nulls().unique()).collect()["user_id"]
    return [name for name in named if is_gone(name, forgotten)]


def _clean(path: Path, target: Path, forgotten: Forgotten) -> int:
    """Keep the refused rows that name none of them; how many did."""
    rows = list(_refused(path, forgotten))
    removed = rows.count(None)
    if not removed:
        link(path, target / QUARANTINE / path.name)
    elif removed < len(rows):
        draft = target / f".{path.name}"
        draft.write_text("".join(row for row in rows if row is not None), encoding="utf-8")
        keep_refused(draft, target)
    return removed


def _refused(path: Path, forgotten: Forgotten) -> Iterator[str | None]:
    """The lines of a quarantine; None for one that names a forgotten user, or was cut where it may have named one."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            told = (str(row.get("reason", "")), raw := str(row.get("raw", "")))
            names = any(is_gone(token, forgotten) for text in told for token in _tokens(text))
            yield None if names or len(raw) >= MAX_RAW else line


def _tokens(text: str) -> Iterator[str]:
    """Whatever may be an id in a text that need not be sound JSON: its strings, read as JSON, and its words."""
    for found in _TOKEN.finditer(text):
        if (literal := found[1]) is None:
            yield found[0]
            continue
        inner = literal[1:].removesuffix('"')
        yield inner
        if "\\" in inner:
            try:
                token = str(json.loads(f'"{inner}"', strict=False))
                token.encode()
            except ValueError:  # no string, or one that no id can be
                continue
            yield token


def expire(log: Path, oldest: int) -> dict[str, int]:
    """Remove from a draft what happened on days before `oldest`, counted from 1970-01-01: how many rows of each type.

    Items, users and judgments stay: they say what holds, since whenever.
    """
    before = count_rows(log)
    for kind in HAPPENED:
        gone = [day for day in days(log, kind) if day < oldest]
        for day in gone:
            rmtree(day_file(log, kind, day).parent)
        if gone and not days(log, kind):
            (log / kind).rmdir()
    after = count_rows(log)
    return {kind: rows - after.get(kind, 0) for kind, rows in before.items() if rows > after.get(kind, 0)}
