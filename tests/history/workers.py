"""Several services over one root and one bundle, each with a port of its own."""

import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from tests.durability.running import Program, until

_PATIENCE = 120.0  # seconds until all are ready


@contextmanager
def workers(
    bundles: Path, root: Path, count: int, environment: Mapping[str, str], config: Path | None = None
) -> Iterator[list[str]]:
    """Their addresses, once all of them answer. config: a podium.toml."""
    root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        urls = []
        for number in range(count):
            port = _free_port()
            told = {"--bundle": bundles, "--root": root, "--port": port, **({"--config": config} if config else {})}
            words = ["serve", *(str(word) for option in told.items() for word in option)]
            program = Program("podium", words, environment=environment, errors=root / f"said-{number}.txt")
            stack.callback(_end, program)
            program.go()
            urls.append(f"http://127.0.0.1:{port}")
            if not number:
                _ready(urls[0], program)  # it makes the tables
        for url in urls[1:]:
            _ready(url, None)
        try:
            yield urls
        except AssertionError as error:
            for number in range(count):
                error.add_note(f"worker {number}: {(root / f'said-{number}.txt').read_text(encoding='utf-8')[-3_000:]}")
            raise


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _ready(url: str, program: Program | None) -> None:
    def answers() -> bool:
        if program is not None and not program.lives:
            raise RuntimeError(f"the service ended: {program.said[-2_000:]}")
        with suppress(httpx.TransportError):
            return httpx.get(f"{url}/readyz").status_code == 200
        return False

    until(answers, _PATIENCE, f"{url} did not get ready")


def _end(program: Program) -> None:
    if program.lives:
        program.end(signal.SIGTERM)
    program.close()
