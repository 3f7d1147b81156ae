"""How the tables run a case, and the few checks that every case of a kind must pass."""

import json
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from starlette.routing import compile_path

from podium import cli

LONGEST = 1_000  # characters of an error that is still one sentence


@dataclass(frozen=True, slots=True)
class Shop:
    """log: a whole log; split: its sides; bundles: a bundles root; bundle: the one in it; item: one it knows."""

    log: Path
    split: Path
    bundles: Path
    bundle: Path
    item: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a user sees of a finished command."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The error: Podium's only line, or what stands below click's usage."""
        _, usage, error = self.err.partition("\nError: ")
        if usage:
            return " ".join(error.split())
        assert len(self.err.splitlines()) == 1, f"one sentence, not {self.err!r}"
        return self.err


@dataclass(frozen=True, slots=True)
class Caller:
    """A running service and three callers of it: secrets by the scope that each has."""

    client: Any
    secrets: dict[str, str]

    def __call__(self, method: str, path: str, scope: str = "read", **given: Any) -> Any:
        headers = {"X-API-Key": self.secrets[scope], **given.pop("headers", {})}
        answer = self.client.request(method, path, headers=headers, **given)
        check_documented(self.client.app, method, path, answer.status_code)
        return answer

    def raw(self, path: str, body: bytes, content: str = "application/json") -> Any:
        """Post bytes as they stand."""
        return self("POST", path, content=body, headers={"Content-Type": content})


def check_documented(app: Any, method: str, path: str, status: int) -> None:
    """The OpenAPI document knows this status of what was called; of what is not in it, 404 and 405 are the answers."""
    for template, operations in app.openapi()["paths"].items():
        pattern = compile_path(template)[0]
        if pattern.match(path.partition("?")[0]) and method.lower() in operations:
            known = operations[method.lower()]["responses"]
            assert str(status) in known, f"{method} {template} may not answer {status}, but {', '.join(known)}"
            return


def podium(*args: object) -> Outcome:
    """Run a command in this process; an exception that leaves it is a traceback on stderr, as in a shell."""
    done = CliRunner().invoke(cli, [str(arg) for arg in args])
    err = done.stderr
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        err += "".join(traceback.format_exception(done.exception))
    return Outcome(done.exit_code, done.stdout, err)


def check_refused(outcome: Outcome, *words: str) -> None:
    """Exit code 2 and one sentence on stderr that names each of `words` (field, file, line, what was expected)."""
    assert "Traceback" not in outcome.err, outcome.err
    assert outcome.code == 2, f"exit code {outcome.code}: {outcome.out}{outcome.err}"
    assert len(outcome.sentence) <= LONGEST, f"{len(outcome.sentence)} characters are no sentence"
    for word in words:
        assert word in outcome.sentence, f"{word!r} is not in {outcome.sentence!r}"


def check_quarantined(outcome: Outcome, log: Path, line: int, field: str, reason: str, *, alone: bool = False) -> None:
    """Exit code 0, or 2 where there was nothing else; the one bad row stands in the log's quarantine with its line,
    field and reason."""
    assert "Traceback" not in outcome.err, outcome.err
    assert outcome.code == (2 if alone else 0), f"exit code {outcome.code}: {outcome.err}"
    assert outcome.out, outcome.err
    assert json.loads(outcome.out)["quarantined"] == 1, outcome.out
    (row,) = (json.loads(text) for path in log.glob("quarantine/*.jsonl") for text in path.read_text().splitlines())
    assert (row["line"], row["field"]) == (line, field), row
    assert reason in row["reason"], row


def check_problem(response: Any, status: int, *words: str) -> None:
    """An answer of application/problem+json with this status that names each of `words`."""
    assert response.status_code == status, f"{response.status_code}: {response.text[:400]}"
    assert response.headers["content-type"] == "application/problem+json", response.headers
    said = response.json()
    assert said["status"] == status, said
    assert said["title"], said
    for word in words:
        assert word in response.text, f"{word!r} is not in {response.text[:400]!r}"


def jsonl(*rows: object) -> bytes:
    """Events as lines; bytes are lines as they stand."""
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)
