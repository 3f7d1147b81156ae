"""The file of API keys: who is in it, how it changes, and how a running service follows it.

Keys are kept as SHA-256 digests, compared in constant time, each with the scopes it was given. A plain digest is enough
because the keys are 32 random bytes, not passwords: there is nothing to guess.
"""

import fcntl
import hashlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipeline.artifacts import write_json
from pipeline.errors import ConfigError, InputError

LOG = logging.getLogger("podium.serving")
SCOPES: Final = ("read", "write", "admin")
_LONGEST: Final = 128  # characters of a name


@dataclass(frozen=True, slots=True)
class Key:
    """hash: hex SHA-256 of the secret; scopes: some of `SCOPES`, where admin includes the others; created: RFC 3339, ""
    for keys made before that was noted."""

    name: str
    hash: str
    scopes: tuple[str, ...]
    created: str = ""

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


def read_keys(path: Path) -> tuple[Key, ...] | None:
    """The keys of a file, None when there is no file. Raises ConfigError when it is not a list of keys."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, list):
            raise TypeError(f"a {type(values).__name__}")
        keys = tuple(
            Key(str(v["name"]), str(v["hash"]).lower(), tuple(v["scopes"]), str(v.get("created", ""))) for v in values
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        fix = f"a JSON list of objects with name, hash and scopes ({type(error).__name__}: {error})"
        raise ConfigError("keys", fix, place=str(path)) from error
    except OSError as error:
        raise ConfigError("keys", f"a file that can be read ({error.strerror})", place=str(path)) from error
    for key in keys:
        if len(key.hash) != 64 or set(key.hash) - set("0123456789abcdef"):
            raise ConfigError(f"{key.name}.hash", "the hexadecimal SHA-256 of the key", place=str(path))
        if not key.scopes or set(key.scopes) - set(SCOPES):
            raise ConfigError(f"{key.name}.scopes", f"some of {', '.join(SCOPES)}", place=str(path))
    return keys


def new_key(name: str, scopes: Sequence[str]) -> tuple[str, Key]:
    """A fresh secret, to be shown once, and the key that recognises it."""
    secret = f"pod_{secrets.token_urlsafe(32)}"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return secret, Key(name, digest(secret), tuple(dict.fromkeys(scopes)), now)


def add_key(path: Path, key: Key) -> None:
    """Put a key into a file of keys, in place of one of the same name. Raises InputError for a name that is none."""
    if not key.name.strip() or len(key.name) > _LONGEST or not key.name.isprintable():
        raise InputError("NAME", f"1 to {_LONGEST} characters that can be printed", received=key.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        _write(path, [*(other for other in read_keys(path) or () if other.name != key.name), key])


def revoke_key(path: Path, name: str) -> Key:
    """Take a key out of a file of keys. Raises InputError when it holds none of that name."""
    if not path.is_file():
        raise InputError("--root", "a data root with API keys; `podium keys add` makes one", place=str(path))
    with _alone(path):
        keys = read_keys(path) or ()
        gone = [key for key in keys if key.name == name]
        if not gone:
            known = ", ".join(key.name for key in keys) or "none, there is no key"
            raise InputError("NAME", f"one of the keys: {known}", place=str(path), received=name)
        _write(path, [key for key in keys if key.name != name])
    return gone[-1]


def issue_key(path: Path, name: str, scopes: Sequence[str]) -> str:
    """Make a key; its secret, of which only the hash is kept."""
    secret, key = new_key(name, scopes)
    add_key(path, key)
    return secret


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def recognise(keys: Sequence[Key], secret: str) -> Key | None:
    """The key of a secret. Every key is compared, whichever fits, so that time tells nothing."""
    given, found = digest(secret), None
    for key in keys:
        if hmac.compare_digest(key.hash, given):
            found = key
    return found


class KeyRing:
    """The keys of a running service, which are those of the file at this moment: what was revoked opens nothing from
    the next request on, in any worker.

    A file that vanished or cannot be read changes nothing, and is told: in the log, and to `failed`. Else a slip of the
    hand would let everybody in, or nobody.
    """

    def __init__(self, path: Path, failed: Callable[[], None]) -> None:
        """Raises ConfigError when there is a file that does not hold keys."""
        self._path, self._failed = path, failed
        self._stamp = self._told = _stamp(path)
        self._keys = read_keys(path)

    def now(self) -> tuple[Key, ...] | None:
        """None: there is no file, and never was one. Empty: nobody may call any more."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._follow(stamp)
        return self._keys

    def _follow(self, stamp: object) -> None:
        try:
            keys = read_keys(self._path)
            if keys is None and self._keys is not None:
                raise ConfigError("keys", "the file of API keys, which is gone", place=str(self._path))
        except ConfigError as error:
            if stamp != self._told:  # once, though it is tried again at every request
                self._told = stamp
                self._failed()
                LOG.error("the API keys known before stay in force: %s", error)
            return
        self._keys, self._stamp, self._told = keys, stamp, stamp


def _stamp(path: Path) -> object:
    """Changes when the file does; None without one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns


def _write(path: Path, keys: Sequence[Key]) -> None:
    write_json(path.resolve(), [asdict(key) for key in keys], private=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other command changes the file meanwhile: it would write back what was revoked."""
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
