"""Clients that write and read at random workers, and keep a history of it."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import permutations

import httpx

from tests.history import shop
from tests.history.checker import History, Read, State, Verdict, Write, check
from tests.history.last_writer import Put, Sight, check_order

USERS = 4  # of each player
_PATIENCE = 15.0  # seconds until a worker must show what another acknowledged
_DEAF = 60.0  # seconds after which a worker that takes no write is broken


@dataclass
class Played:
    """delays: of writes whose client asked another worker until it was shown: seconds from the acknowledgement to the
    start, and to the end, of the first read that showed it; counts: operations by kind."""

    history: History = field(default_factory=History)
    puts: list[Put] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    delays: list[tuple[float, float]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    turned_away: int = 0

    def judge(self) -> Verdict:
        events, rules = check(self.history), check_order(self.puts, self.sights)
        return Verdict(events.broken + rules.broken, events.late + rules.late)


@dataclass
class _Game:
    """What all players share. query: one that is suggested while any item of `rows` can be bought; rules: values for
    rules, each once; sent: item -> the version that was sent last."""

    seed: str
    query: str
    rows: Sequence[Mapping[str, object]]
    rules: Iterator[tuple[str, ...]]
    played: Played
    users: list[str]
    sent: dict[str, int]
    most: int
    last: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    failed: list[BaseException] = field(default_factory=list)

    def more(self) -> bool:
        return self.played.counts.total() < self.most and time.monotonic() < self.last and not self.failed


class _Player:
    """number 0 also writes which query leads somewhere."""

    def __init__(self, number: int, urls: Sequence[str], seed: int, items: int, game: _Game) -> None:
        self.number, self.game, self.chance = number, game, random.Random(f"{seed} {number}")
        self.clients = [httpx.Client(base_url=url, timeout=60) for url in urls]
        self.items = [f"h-{number}-{each}" for each in range(items)]
        self.users = {f"u-{number}-{each}": (frozenset[str](), frozenset[str](), False) for each in range(USERS)}
        self.versions: Counter[str] = Counter()
        self.leads = True

    def go(self) -> None:
        writes = (self.post, self.post, self.post, self.post, self.post, self.forget, self.replace_rules)
        try:
            while self.game.more():
                try:
                    (self.chance.choice(writes) if self.chance.random() < 0.35 else self.read)()
                except shop.BusyError:
                    with self.game.lock:
                        self.game.played.turned_away += 1
                        if self.game.played.turned_away > self.game.most:
                            raise
                    time.sleep(0.01)
        except BaseException as error:
            self.game.failed.append(error)
        finally:
            for client in self.clients:
                client.close()

    def post(self) -> None:
        """A few events, each of another key."""
        events: list[dict[str, object]] = []
        states: dict[str, State] = {}
        for key in self.chance.sample(self.items, self.chance.choice((1, 1, 2, len(self.items) // 2, len(self.items)))):
            event, shown = shop.item(key, self.versions[key] + 1, self.chance.random() < 0.75)
            events.append(event)
            states |= shown
        for user in self.chance.sample(list(self.users), self.chance.choice((0, 0, 1, 2))):
            event, states[user] = self.act(user)
            events.append(event)
        if not self.number and self.chance.random() < 0.05:
            self.leads = not self.leads
            self.write(shop.again(self.game.rows, self.leads), {"suggestion": {"leads": self.leads}})
        worker = self.write(events, states)
        if self.chance.random() < 0.2 and len(self.clients) > 1:
            self.probe(next(iter(states)), worker)

    def act(self, user: str) -> tuple[dict[str, object], State]:
        """A user clicks, hides or buys."""
        hidden, bought, clicked = self.users[user]
        one = self.chance.choice(shop.SHELF)
        action = self.chance.choice(("hide", "hide", "purchase", "click"))
        if action == "purchase" and len(bought) < 6:  # more would push the click out of what is looked at
            bought |= {one}
        elif action == "hide":
            hidden |= {one}
        else:
            action, clicked, one = "click", True, self.game.seed
        self.users[user] = (hidden, bought, clicked)
        made = shop.event("feedback", user_id=user, item_id=one, action=action)
        return made, shop.person(hidden, bought, clicked)

    def write(self, events: Sequence[Mapping[str, object]], states: Mapping[str, State]) -> int:
        """Post until it is acknowledged; by which worker."""
        worker = self.chance.randrange(len(self.clients))
        for key in states.keys() & self.game.sent.keys():
            self.game.sent[key] = self.versions[key] + 1
        asked = self.until(lambda: shop.ask(self.clients[worker], "POST", "/v1/events", json=events))
        assert asked.body["accepted"] + asked.body["duplicates"] == len(events), asked.body
        self.note(states, worker, asked, "events written", len(events), event=True)
        return worker

    def forget(self) -> None:
        user = self.chance.choice(list(self.users))
        worker = self.chance.randrange(len(self.clients))
        if not self.versions[user]:
            return
        self.users[user] = (frozenset(), frozenset(), False)
        asked = self.until(lambda: shop.ask(self.clients[worker], "DELETE", f"/v1/users/{user}"))
        state = shop.person(*self.users[user])
        self.note({user: state}, worker, asked, "users forgotten", 1, event=False)
        if self.chance.random() < 0.5:  # back at once, and somewhere else
            event, state = self.act(user)
            self.write([event], {user: state})

    def replace_rules(self) -> None:
        with self.game.lock:
            value = ".".join(next(self.game.rules))
        worker = self.chance.randrange(len(self.clients))
        asked = self.until(lambda: shop.ask(self.clients[worker], "PUT", "/v1/rules", json=shop.rule(value)))
        with self.game.lock:
            self.game.played.puts.append(Put(value, worker, asked.start, asked.end))
            self.game.played.counts["rules replaced"] += 1

    def until(self, asks: Callable[[], shop.Asked]) -> shop.Asked:
        """Again until somebody answers; `start` is of the first time."""
        start = time.monotonic()
        while True:
            try:
                asked = asks()
                return shop.Asked(start, asked.end, asked.body)
            except shop.BusyError as error:
                if time.monotonic() > start + _DEAF:
                    raise AssertionError(f"nobody took it within {_DEAF:.0f} s") from error
                time.sleep(0.01)

    def note(self, states: Mapping[str, State], worker: int, asked: shop.Asked, kind: str, n: int, event: bool) -> None:
        played = self.game.played
        with self.game.lock:
            for key, state in states.items():
                self.versions[key] += 1
                made = Write(key, self.versions[key], worker, asked.start, asked.end, state, event)
                played.history.writes.append(made)
            played.counts[kind] += n

    def read(self) -> None:
        worker = self.chance.randrange(len(self.clients))
        client, chance = self.clients[worker], self.chance
        user, key = chance.choice(self.game.users), chance.choice(list(self.game.sent))
        some = chance.sample(sorted(self.game.sent), min(12, len(self.game.sent)))
        reads: dict[str, Callable[[], tuple[shop.Asked, dict[str, State]]]] = {
            "search by a word": lambda: shop.searched(client, key),
            "search by a new word": lambda: shop.worded(client, key, self.game.sent[key]),
            "descriptions": lambda: shop.described(client, some),
            "rank": lambda: shop.ranked(client, some),
            "search of a user": lambda: shop.shelved(client, user),
            "recommend": lambda: shop.recommended(client, user),
            "explain": lambda: shop.explained(client, user, chance.choice(shop.SHELF)),
            "suggest": lambda: shop.suggested(client, self.game.query),
        }
        kind = chance.choice((*reads, "search of a user", "rules"))
        if kind != "rules":
            self.keep(kind, worker, *reads[kind]())
            return
        asked, value = shop.pinned(client)
        with self.game.lock:
            self.game.played.sights.append(Sight(value, worker, asked.start, asked.end))
            self.game.played.counts["reads: rules"] += 1

    def keep(self, kind: str, worker: int, asked: shop.Asked, saw: dict[str, State]) -> None:
        with self.game.lock:
            self.game.played.history.reads.append(Read(worker, asked.start, asked.end, kind, saw))
            self.game.played.counts[f"reads: {kind}"] += 1

    def probe(self, key: str, writer: int) -> None:
        """Ask another worker until it shows what was acknowledged."""
        acknowledged = time.monotonic()
        other = self.chance.choice([number for number in range(len(self.clients)) if number != writer])
        while time.monotonic() < acknowledged + _PATIENCE:
            asked, saw = shop.described(self.clients[other], [key])
            self.keep("descriptions", other, asked, saw)
            if saw[key].get("price") == self.versions[key]:
                self.game.played.delays.append((asked.start - acknowledged, asked.end - acknowledged))
                return


def play(
    urls: Sequence[str], seed: int, operations: int, players: int = 6, items: int = 6, seconds: float = 3_600
) -> Played:
    """About so many operations: events written, users forgotten, rules replaced, and reads; fewer when the time is
    over. items: of each player, and as many in the longest posts. Raises what a player raised, for which a sound
    service gives no cause."""
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=url, timeout=60)) for url in urls]
        game = _prepare(clients, seed, operations, seconds)
        everybody = [_Player(number, urls, seed, items, game) for number in range(players)]
        _begin(game, everybody)
        threads = [threading.Thread(target=player.go) for player in everybody]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if game.failed:
            raise game.failed[0]
        last = time.monotonic() + 0.5
        while time.monotonic() < last:
            time.sleep(0.05)
        _look_once_more(clients, game)
    return game.played


def _prepare(clients: Sequence[httpx.Client], seed: int, operations: int, seconds: float) -> _Game:
    """The shelf is filled, every worker knows it, and a first rule is in force."""
    query, rows = shop.leading(clients[0])
    rules = list(permutations(shop.SHELF, 3))
    random.Random(seed).shuffle(rules)
    values = iter(rules)
    first = ".".join(next(values))
    shop.ask(clients[0], "POST", "/v1/events", json=shop.shelf())
    put = shop.ask(clients[0], "PUT", "/v1/rules", json=shop.rule(first))
    played = Played(puts=[Put(first, 0, put.start, put.end)])
    played.history.blank["suggestion"] = {"leads": True}
    chosen = shop.ask(clients[0], "POST", "/v1/recommend", json={"surface": "home"}).body["items"][0]["item_id"]
    for client in clients:
        while shop.pinned(client)[1] != first or shop.shelved(client, "nobody")[1]["nobody"]["hidden"]:
            time.sleep(0.05)
        assert shop.suggested(client, query)[1]["suggestion"]["leads"], query
    return _Game(chosen, query, rows, values, played, [], {}, operations, time.monotonic() + seconds)


def _begin(game: _Game, players: Sequence[_Player]) -> None:
    for player in players:
        game.users += player.users
        game.played.history.blank |= dict.fromkeys(player.items, shop.UNKNOWN)
        game.played.history.blank |= {shop.stock(key): shop.ABSENT for key in player.items}
        game.played.history.blank |= {user: shop.person(frozenset(), frozenset(), False) for user in player.users}
        game.sent |= dict.fromkeys(player.items, 0)


def _look_once_more(clients: Sequence[httpx.Client], game: _Game) -> None:
    """In the end all workers show the same: everything."""
    for worker, client in enumerate(clients):
        for user in game.users:
            for kind, look in (("search of a user", shop.shelved), ("recommend", shop.recommended)):
                asked, saw = look(client, user)
                game.played.history.reads.append(Read(worker, asked.start, asked.end, kind, saw))
        for kind, looks in (("descriptions", shop.described), ("rank", shop.ranked)):
            keys = sorted(game.sent)
            for first in range(0, len(keys), 50):
                asked, saw = looks(client, keys[first : first + 50])
                game.played.history.reads.append(Read(worker, asked.start, asked.end, kind, saw))
        asked, value = shop.pinned(client)
        game.played.sights.append(Sight(value, worker, asked.start, asked.end))
