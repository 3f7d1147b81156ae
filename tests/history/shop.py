"""What clients of a shop know to do: things to post whose every version a read can tell, and reads that tell them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import httpx

from tests.history.checker import State

SHELF: Final = tuple(f"shelf-{number:02d}" for number in range(24))  # items that users hide and buy, and rules pin
UNKNOWN: Final[State] = {"exists": False}
ABSENT: Final[State] = {"shown": False}
_TURNED_AWAY: Final = (410, 429, 503)  # 410: an answer was forgotten with its user before it was explained
_NUMBER = count()


@dataclass(frozen=True)
class Asked:
    """An answer, and when it was asked for and given."""

    start: float
    end: float
    body: Any


class BusyError(Exception):
    """The service turned the caller away, or hung up."""


def ask(client: httpx.Client, method: str, path: str, **options: Any) -> Asked:
    """Raises BusyError, or AssertionError for what a sound service does not answer."""
    start = time.monotonic()
    try:
        answer = client.request(method, path, **options)
    except httpx.TransportError as error:  # a connection that idled is closed by the service
        raise BusyError from error
    end = time.monotonic()
    if answer.status_code in _TURNED_AWAY:
        raise BusyError
    assert answer.is_success, f"{method} {path} {options}: {answer.status_code} {answer.text[:300]}"
    return Asked(start, end, answer.json())


def event(what: str, /, **fields: object) -> dict[str, object]:
    return {"event_id": f"{what}-{next(_NUMBER)}", "type": what, "time": time.time_ns() // 1_000_000, **fields}


def item(key: str, version: int, available: bool) -> tuple[dict[str, object], dict[str, State]]:
    """The event that makes a version of an item, and what reads show of it: its words, and its stock.

    These are two keys, since words hold as soon as they are known, stock and price as of the moment of a request: an
    answer that is computed while an item changes may show new words with the stock of before.
    """
    told = {"title": f"{word(key)} of {word(key)}v{version}", "brand": f"{key}v{version}", "price": float(version)}
    made = event("item", item_id=key, category=["History"], tags=[key], available=available, **told)
    return made, {key: {"exists": True, **told}, stock(key): {"shown": available, "price": float(version)}}


def stock(key: str) -> str:
    return f"{key} stock"


def person(hidden: frozenset[str], bought: frozenset[str], clicked: bool) -> State:
    """What reads show of a user."""
    return {"hidden": hidden, "clicked": clicked, **{f"away {each}": each in hidden | bought for each in SHELF}}


def shelf() -> list[dict[str, object]]:
    words = {"title": "shelfling", "category": ["Shelf"], "tags": ["shelf"], "price": 1.0}
    return [event("item", item_id=each, **words) for each in SHELF]


def word(key: str) -> str:
    """One word that only this item holds."""
    return "zq" + key.replace("-", "")


def described(client: httpx.Client, keys: Sequence[str]) -> tuple[Asked, dict[str, State]]:
    """What is known of items, whether they can be bought or not. One that a page named has a row, but no words."""
    asked = ask(client, "GET", "/playground/items", params={"item_id": list(keys)})
    found = {row["item_id"]: row for row in asked.body["items"] if row["title"] is not None}
    names = ("price", "title", "brand")
    return asked, {
        key: {"exists": True, **{name: found[key][name] for name in names}} if key in found else {"exists": False}
        for key in keys
    }


def searched(client: httpx.Client, key: str) -> tuple[Asked, dict[str, State]]:
    """By its word: whether it is shown, and the brand that is told of it."""
    asked = ask(client, "POST", "/v1/search", json={"query": word(key), "filters": {"tags": [key]}})
    if [each["item_id"] for each in asked.body["items"]] != [key]:
        return asked, {stock(key): {"shown": False}}
    (brand,) = asked.body["facets"]["brand"]
    return asked, {key: {"brand": brand}, stock(key): {"shown": True}}


def worded(client: httpx.Client, key: str, version: int) -> tuple[Asked, dict[str, State]]:
    """By a word of one version, which holds while the version does; where it does not, nothing is learned."""
    title = f"{word(key)} of {word(key)}v{version}"
    body = {
        "query": title.rsplit(maxsplit=1)[-1],
        "filters": {"tags": [key], "price": {"min": version, "max": version}},
    }
    asked = ask(client, "POST", "/v1/search", json=body)
    found = [each["item_id"] for each in asked.body["items"]] == [key]
    return asked, {key: {"title": title}, stock(key): {"shown": True, "price": float(version)}} if found else {}


def ranked(client: httpx.Client, keys: Sequence[str]) -> tuple[Asked, dict[str, State]]:
    """What is the matter with a caller's own items."""
    asked = ask(client, "POST", "/v1/rank", json={"items": [{"item_id": key} for key in keys]})
    reasons = {each["item_id"]: each.get("reason") for each in asked.body["items"]}
    words: dict[str, State] = {key: {"exists": reason != "unknown_item"} for key, reason in reasons.items()}
    known = {stock(key): {"shown": reason is None} for key, reason in reasons.items() if reason != "unknown_item"}
    return asked, {**words, **known}


def shelved(client: httpx.Client, user: str) -> tuple[Asked, dict[str, State]]:
    """What of the shelf a user has hidden."""
    body = {"query": "shelfling", "filters": {"tags": ["shelf"]}, "user_id": user, "page_size": 100}
    asked = ask(client, "POST", "/v1/search", json=body)
    shown = {each["item_id"] for each in asked.body["items"]}
    return asked, {user: {"hidden": frozenset(SHELF) - shown}}


def recommended(client: httpx.Client, user: str) -> tuple[Asked, dict[str, State]]:
    """Whether a user's click leads to what others clicked as well."""
    asked = ask(client, "POST", "/v1/recommend", json={"surface": "home", "user_id": user, "page_size": 100})
    channels = {channel for each in asked.body["items"] for channel in each["channels"]}
    return asked, {user: {"clicked": "covisit" in channels}}


def explained(client: httpx.Client, user: str, one: str) -> tuple[Asked, dict[str, State]]:
    """Whether a recommendation may show a user an item: neither hidden nor bought. Told as of the recommendation."""
    asked = ask(client, "POST", "/v1/recommend", json={"surface": "recommend", "user_id": user})
    path = f"/v1/requests/{asked.body['request_id']}/explain"
    told = ask(client, "GET", path, params={"item_id": one})
    return Asked(asked.start, told.end, told.body), {user: {f"away {one}": not told.body["allowed"]}}


def pinned(client: httpx.Client) -> tuple[Asked, str]:
    """Which rule is in force."""
    asked = ask(client, "POST", "/v1/search", json={"query": "pinned"})
    return asked, ".".join(each["item_id"] for each in asked.body["items"][:3])


def rule(value: str) -> dict[str, object]:
    pin = {"id": value, "action": "pin", "query": "pinned", "position": 0, "item_ids": value.split(".")}
    return {"rules": [pin]}


def suggested(client: httpx.Client, query: str) -> tuple[Asked, dict[str, State]]:
    asked = ask(client, "GET", "/v1/suggest", params={"placement": "complete", "prefix": query, "limit": 50})
    return asked, {"suggestion": {"leads": query in [each["query"] for each in asked.body["suggestions"]]}}


def leading(client: httpx.Client) -> tuple[str, list[Mapping[str, object]]]:
    """A query that is suggested as long as one of a few items can be bought, and these items, which then can be."""
    queries = ask(client, "GET", "/v1/suggest", params={"placement": "discover", "limit": 50}).body["suggestions"]
    found: list[tuple[int, str, list[str]]] = []
    for query in {text for each in queries for text in each["query"].split()}:
        items = ask(client, "POST", "/v1/search", json={"query": query, "page_size": 100}).body["items"]
        held = [each["item_id"] for each in items if "lexical" in each["channels"]]
        if held and suggested(client, query)[1]["suggestion"]["leads"]:
            found.append((len(held), query, held))
    for _, query, held in sorted(found):
        rows = ask(client, "GET", "/playground/items", params={"item_id": list(held)}).body["items"]
        leads = []
        for available in (True, False, True):
            ask(client, "POST", "/v1/events", json=again(rows, available))
            leads.append(suggested(client, query)[1]["suggestion"]["leads"])
        if leads == [True, False, True]:
            return query, rows
    raise AssertionError(f"no query leads to few items: {found}")


def again(rows: Sequence[Mapping[str, object]], available: bool) -> list[dict[str, object]]:
    """Known items described again."""
    names = ("item_id", "title", "brand", "price", "category", "kind", "currency", "region")
    return [event("item", available=available, **{name: row[name] for name in names}) for row in rows]
