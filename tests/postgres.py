"""A PostgreSQL server of Debian's packages for tests, on loopback, as a user who is not root."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Server:
    """programs: of `pg_ctl` and others; folder: of one server's files."""

    programs: Path
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://podium@127.0.0.1:{self.port}/postgres"

    def start(self, settings: str = "") -> None:
        """settings: further ones, as `-c name=value`."""
        told = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} {settings}"
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", "-o", told, "start")

    def stop(self, mode: str = "fast") -> None:
        """mode: `immediate` is a crash, from which the server recovers when it starts."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", mode, "-w", "stop")

    def make(self) -> None:
        told = ("-A", "trust", "-U", "podium", "-E", "UTF8", "--locale=C", "--no-sync")
        self._run("initdb", "-D", str(self.folder / "data"), *told)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", _somebody(), "--", *command]
        # A file, not a pipe: the server would inherit it, and we would wait for the server's end.
        with tempfile.TemporaryFile() as said:
            if subprocess.run(command, stdout=said, stderr=said, check=False).returncode:
                said.seek(0)
                raise RuntimeError(f"{program}: {said.read().decode()}")


def installed() -> Path | None:
    """The newest server's folder of programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextlib.contextmanager
def running(programs: Path) -> Iterator[Server]:
    """A server with an empty cluster, gone at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="podium-postgres-"))
    shutil.chown(folder, _somebody())
    server = Server(programs, folder, port)
    try:
        server.make()
        server.start()
        yield server
    finally:
        with contextlib.suppress(RuntimeError):  # a test may have stopped it
            server.stop("immediate")
        shutil.rmtree(folder)


def _somebody() -> str:
    return getpass.getuser() if os.geteuid() else "postgres"
