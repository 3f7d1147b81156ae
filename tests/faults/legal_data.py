"""Logs that are legal and say next to nothing: each is what somebody's first day, or a filter too many, leaves.

Each is small, so that every command can be run over every one of them.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_checks import jsonl

START = 1_767_600_000_000  # 2026-01-05
MINUTE, HOUR = 60_000, 3_600_000
ITEMS, PAGES = 6, 60
WORDS = ("red", "blue", "old", "new", "warm", "soft", "cheap", "tall")
Event = dict[str, Any]
Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Legal:
    """format: of the files, as `podium ingest` names it; split: further options of `podium split`."""

    files: Callable[[], Files]
    format: str = "podium"
    split: tuple[str, ...] = ("--gap", "0m")

    def write(self, folder: Path) -> Path:
        folder.mkdir()
        for name, content in self.files().items():
            (folder / name).write_bytes(content)
        return folder


def dealt(n: int, salt: int, below: int) -> int:
    """A number below `below`, the same at every run, that follows no order of `n`."""
    return (n * 2_654_435_761 + salt * 40_503_001) % 4_294_967_291 // 97 % below


def items(number: int = ITEMS, **fields: object) -> list[Event]:
    return [
        {
            "type": "item",
            "event_id": f"item:i{n}",
            "time": START - HOUR,
            "item_id": f"i{n}",
            "title": f"{WORDS[n % len(WORDS)]} shoe {n}",
            "category": ["Shoes", "AB"[n % 2]],
            "brand": f"brand{n % 2}",
            "price": 10.0 + n,
        }
        | fields
        for n in range(number)
    ]


def pages(
    number: int = PAGES,
    *,
    shown: int = 4,
    of: int = ITEMS,
    users: int = 12,
    queries: int = 3,
    step: int = HOUR,
    **fields: object,
) -> list[Event]:
    """Searches in which every item stands everywhere."""
    return [
        {
            "type": "impression",
            "event_id": f"page:{n}",
            "time": START + n * step,
            "request_id": f"r{n}",
            "surface": "search",
            "user_id": f"u{n % users}",
            "query": f"{WORDS[dealt(n, 1, queries)]} shoe",
            "items": [
                {"item_id": f"i{(dealt(n, 2, of) + place) % of}", "position": place} for place in range(min(shown, of))
            ],
        }
        | fields
        for n in range(number)
    ]


def clicks(shown: list[Event], where: Callable[[int], bool] = lambda n: n % 4 > 0, after: int = MINUTE) -> list[Event]:
    """A click on one item of each page that `where` takes."""
    return [
        act(n, page, page["items"][dealt(n, 3, len(page["items"]))], after) for n, page in enumerate(shown) if where(n)
    ]


def act(n: int, page: Event, cell: Event, after: int = MINUTE, action: str = "click") -> Event:
    return {
        "type": "feedback",
        "event_id": f"{action}:{n}:{cell['item_id']}"[:128],
        "time": page["time"] + after,
        "request_id": page["request_id"],
        "item_id": cell["item_id"],
        "action": action,
    } | {name: page[name] for name in ("user_id", "session_id") if name in page}


def shop(catalogue: list[Event] | None = None, **options: Any) -> list[Event]:
    """A small shop with nothing odd: three pages of four have a click."""
    shown = pages(**options)
    return [*(items(options.get("of", ITEMS)) if catalogue is None else catalogue), *shown, *clicks(shown)]


def events(make: Callable[[], list[Event]], **options: Any) -> Legal:
    return Legal(lambda: {"events.jsonl": jsonl(*make())}, **options)


def of_order(make: Callable[[], list[Event]]) -> Legal:
    """A log whose clock is an order."""
    manifest = json.dumps({"schema": 1, "clock": "order"}).encode()
    return Legal(lambda: {"events.jsonl": jsonl(*make()), "manifest.json": manifest}, split=("--by", "last"))


def renamed(given: list[Event], names: Callable[[str], str]) -> list[Event]:
    """The same events of other users, items, requests and queries."""

    def name(value: Any, key: str) -> Any:
        if isinstance(value, list):
            return [name(each, key) for each in value]
        if isinstance(value, dict):
            return {inner: name(each, inner) for inner, each in value.items()}
        return names(value) if key in {"user_id", "item_id", "request_id", "query"} else value

    return [name(event, "") for event in given]


def everything_clicked() -> list[Event]:
    shown = pages()
    return [*items(), *shown, *(act(n, page, cell) for n, page in enumerate(shown) for cell in page["items"])]


def only_clicks() -> list[Event]:
    return [*items(), *({k: v for k, v in click.items() if k != "request_id"} for click in clicks(pages()))]


def one_busy_user() -> list[Event]:
    views = [
        {"type": "feedback", "event_id": f"v{n}", "time": START + n * MINUTE, "user_id": "u0", "item_id": f"i{n % 6}"}
        | {"action": "click" if n % 3 else "purchase"}
        for n in range(5_000)
    ]
    return [*shop(), *views]


def anonymous() -> list[Event]:
    """Neither user nor session on any page; who acts is a session."""
    shown = [{k: v for k, v in page.items() if k != "user_id"} for page in pages()]
    return [*items(), *shown, *({**click, "session_id": "s"} for click in clicks(shown))]


def bought(shown: list[Event]) -> list[Event]:
    return [{**click, "action": "purchase", "event_id": f"bought:{click['event_id']}"} for click in clicks(shown)]


def again(shown: list[Event]) -> list[Event]:
    return [{**page, "event_id": f"again:{page['event_id']}"} for page in shown]


def explored() -> list[Event]:
    """Pages in a drawn order whose chances are known."""
    shown = pages(explored=True)
    for page in shown:
        for cell in page["items"]:
            cell |= {"propensity": 0.25, "marginal": 0.25}
    return [*items(), *shown, *clicks(shown)]


def strangers() -> list[Event]:
    """Who and what is held out was never seen before."""
    early, late = shop(), shop(number=15)
    for event in late:
        event["time"] += (PAGES + 1) * HOUR
        event["event_id"] = f"late:{event['event_id']}"
    return [*early, *renamed(late, lambda text: f"late {text}")]


def one_per_user() -> list[Event]:
    clicked = only_clicks()
    return [*items(), *({**click, "time": 1, "user_id": f"u{n}"} for n, click in enumerate(clicked[ITEMS:]))]


def judged(*sizes: int, grade: Callable[[int], float] = lambda n: 1 + n % 3) -> Callable[[], Files]:
    """A query of so many documents for each of `sizes`, as Home Depot publishes them."""

    def files() -> Files:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["id", "product_uid", "product_title", "search_term", "relevance"])
        row = 0
        for query, size in enumerate(sizes):
            for n in range(size):
                title = f"{WORDS[n % 8]} shoe {n}"
                writer.writerow([row := row + 1, f"p{n}", title, f"{WORDS[query % 8]} shoe {query}", grade(n)])
        return {"judged.csv": out.getvalue().encode()}

    return files


def suggested() -> list[Event]:
    return [
        {"type": "suggest", "event_id": f"s{n}", "time": START + n * HOUR, "request_id": f"s{n}"}
        | {"placement": "complete", "prefix": "re", "user_id": f"u{n % 5}", "chosen": "red shoe"}
        | {"shown": [{"query": "red shoe", "position": 0}, {"query": "red hat", "position": 1}]}
        for n in range(40)
    ]


def mind(label: str) -> Callable[[], Files]:
    """MIND's own files; label: what stands behind each candidate."""
    lines = [
        f"{n}\tU{n % 9}\t11/{11 + n // 24}/2019 {n % 12 + 1}:00:00 {'AP'[n // 12 % 2]}M\tN{n % 6}\t"
        + " ".join(f"N{(n + place) % 6}{label}" for place in range(4))
        for n in range(1, 60)
    ]
    news = [f"N{n}\tnews\tnewsworld\t{WORDS[n]} title {n}\tabout {WORDS[n]}\t\t[]\t[]" for n in range(6)]
    return lambda: {"behaviors.tsv": "\n".join(lines).encode(), "news.tsv": "\n".join(news).encode()}


def odd(text: str) -> str:
    """An id of letters that trip up those who take text for ASCII."""
    return f"{text}/\u00f1 \U0001f97e\u0301 \u200f\u05e9\u05dc\u200e a%2Fb?&=\"'<b>"


# The rows that the promise names.
NAMED: dict[str, Legal] = {
    "no clicks": events(lambda: [*items(), *pages()]),
    "only clicks": events(only_clicks),
    "one subject": events(lambda: shop(users=1)),
    "one item": events(lambda: shop(of=1)),
    "one query": events(lambda: shop(queries=1)),
    "one page": events(lambda: [*items(), *pages(1), *clicks(pages(1), lambda _: True)]),
    "one-item pages": events(lambda: shop(shown=1)),
    "unlabelled pages": Legal(mind(""), "mind"),
    "one class": events(everything_clicked),
    "one moment": events(lambda: [*items(), *pages(step=0), *clicks(pages(step=0), after=0)]),
    "12,000 documents": Legal(judged(12_000, *[5] * 40), "judged", ("--by", "query")),
    "empty": Legal(lambda: {"events.jsonl": b""}),
}

# What else comes to mind.
FURTHER: dict[str, Legal] = {
    "nothing odd": events(shop),
    "no prices": events(lambda: shop(items(price=None))),
    "items all alike": events(lambda: shop(items(title="shoe", category=["Shoes"], brand="b", price=1.0))),
    "two items": events(lambda: shop(of=2)),
    "a user with 5,000 events": events(one_busy_user),
    "odd ids": events(lambda: renamed(shop(), odd)),
    "long titles": events(lambda: shop(items(title="very " * 20_000 + "x" * 20_000))),
    "bare items": events(lambda: shop(items(title=None, category=None, brand=None, price=None))),
    "nothing available": events(lambda: shop(items(available=False))),
    "one event a user, by order": of_order(one_per_user),
    "no catalogue": events(lambda: shop([])),
    "only items": events(items),
    "only suggestions": events(suggested),
    "only users": events(lambda: [{"type": "user", "event_id": "u", "time": START, "user_id": "ann"}]),
    "anonymous": events(anonymous),
    "explored": events(explored),
    "strangers": events(strangers),
    "one query judged": Legal(judged(12_000), "judged", ("--by", "query")),
    "one grade": Legal(judged(*[5] * 60, grade=lambda _: 3), "judged", ("--by", "query")),
    "all irrelevant": Legal(judged(*[5] * 60, grade=lambda _: 1), "judged", ("--by", "query")),
    "nothing clicked in MIND": Legal(mind("-0"), "mind"),
    "pages of purchases": events(lambda: [*shop(), *bought(pages())]),
    "one page twice": events(lambda: [*items(), *pages(), *again(pages()), *clicks(pages())]),
    "one page of one item": events(lambda: [*items(1), *pages(1, of=1), *clicks(pages(1, of=1), lambda _: True)]),
    "one subject, many clicks": events(lambda: shop(users=1, number=400)),
    "split by user": events(shop, split=("--by", "user")),
}
