"""Merchandising rules as a file every worker reads, and the record of who changed them."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts import write_json
from pipeline.rules import Rule, parse_rules


class Rulebook:
    """`ROOT/rules.json`, replaced whole, and `ROOT/rules.audit.jsonl`, only ever added to."""

    def __init__(self, root: Path) -> None:
        self._path, self._audit = root / "rules.json", root / "rules.audit.jsonl"

    @property
    def stamp(self) -> tuple[int, int] | None:
        """Changes when the file does; None without one."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino

    def read(self) -> tuple[Rule, ...]:
        """Raises InputError when somebody edited the file into something else than rules."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ()
        return parse_rules(json.loads(text), place=str(self._path))

    def write(self, rules: Sequence[Rule], who: str) -> None:
        values = as_json(rules)
        with self._audit.open("a", encoding="utf-8") as audit:
            audit.write(json.dumps({"time": int(time.time() * 1000), "key": who, "rules": values}) + "\n")
        write_json(self._path, values)


def as_json(rules: Sequence[Rule]) -> list[dict[str, object]]:
    """Rules in their wire form, without what was left out."""
    return [rule.model_dump(mode="json", exclude_unset=True) for rule in rules]
