"""Wrong arguments, folders and files of every command but `ingest`."""

import json
from pathlib import Path

import polars as pl
import pytest
from fault_checks import Shop, check_refused, jsonl, podium

Words = tuple[str, ...]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--set", "users"), ("--set", "KEY=VALUE", "'users'")),
        (("--set", "users=many"), ("worlds.toml [tiny]", "users", "valid integer", "'many'")),
        (("--set", "users=-1"), ("users", "greater than or equal to 2", "'-1'")),
        (("--set", "explored=1.5"), ("explored", "less than or equal to 1")),
        (("--set", "drift=nan"), ("drift",)),
        (("--set", "colour=red"), ("colour", "one of users")),
        (("--set", "logger=clever"), ("logger", "'random'")),
        (("--set", "examination=steep"), ("examination", "pattern")),
        (("--set", "pool=48", "--set", "page_size=50"), ("pool", "four pages")),
        (("--world", "huge"), ("world", "one of", "FILE#NAME", "'huge'")),
        (("--world", "absent.toml#tiny"), ("absent.toml", "existing TOML file")),
        (("--seed", "-1"), ("seed", "greater than or equal to 0")),
        (("--seed", "one"), ("--seed", "integer")),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else None,
)
def test_a_world_that_cannot_be_is_refused(args: Words, words: Words, tmp_path: Path) -> None:
    out = tmp_path / "market"
    given = args if "--world" in args else (*args, "--world", "tiny")
    check_refused(podium("simulate", out, *given, "--json"), *words)
    assert not out.exists()


def test_a_market_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    out = tmp_path / "market"
    out.write_text("mine")
    check_refused(podium("simulate", out, "--world", "tiny", "--json"), "OUT", "folder", str(out))
    assert out.read_text() == "mine"


def check_command(command: str, args: Words, words: Words, places: dict[str, Path], out: Path) -> None:
    """The command with these arguments is refused, and leaves nothing at `out`."""
    check_refused(podium(command, *(arg.format(**places) for arg in args), "--out", out, "--json"), *words)
    assert not out.exists()


# {log}: a whole log, {train}: a side of a split, {bare}: a folder, {file}: a file, {order}: a log without clock
SPLITS: dict[str, tuple[Words, Words]] = {
    "a log that is missing": (("{bare}/absent",), ("logs", "manifest.json", "absent")),
    "a folder that is no log": (("{bare}",), ("logs", "manifest.json", "podium ingest")),
    "a file": (("{file}",), ("logs", "manifest.json", "podium ingest")),
    "a log without manifest's schema": (("{unknown}",), ("schema", "1")),
    "a log whose manifest is no JSON": (("{torn}",), ("manifest.json", "JSON")),
    "a side of a split": (("{test}",), ("logs", "a whole log")),
    "an unknown rule": (("{log}", "--by", "week"), ("--by", "one of time, last, query, user", "'week'")),
    "no validation": (("{log}", "--valid", "0"), ("--valid, --test", "above 0")),
    "a negative share": (("{log}", "--test", "-0.1"), ("--valid, --test", "above 0")),
    "shares that leave nothing": (("{log}", "--valid", "0.5", "--test", "0.5"), ("--valid, --test", "less than 1")),
    "a share that is no number": (("{log}", "--valid", "nan"), ("--valid, --test", "above 0")),
    "a share that is text": (("{log}", "--valid", "half"), ("--valid", "float")),
    "a percentage": (("{log}", "--valid", "10"), ("--valid, --test", "less than 1")),
    "a gap without unit": (("{log}", "--gap", "24"), ("--gap", "m, h or d", "'24'")),
    "a gap of nothing": (("{log}", "--gap", ""), ("--gap", "m, h or d")),
    "a negative gap": (("{log}", "--gap", "-1h"), ("--gap", "m, h or d", "'-1h'")),
    "a gap with a digit that is none": (("{log}", "--gap", "²h"), ("--gap", "m, h or d")),
    "a gap longer than the log": (("{log}", "--gap", "400d"), ("--gap",)),
    "time of a log without clock": (("{order}", "--by", "time"), ("--by", "last", "'time'")),
    "users without --by last": (("{log}", "--users", "{file}"), ("--users", "--by last")),
    "users that are missing": (("{log}", "--by", "last", "--users", "{bare}/absent"), ("--users", "absent")),
    "users that are no text": (("{log}", "--by", "last", "--users", "{binary}"), ("--users", "UTF-8")),
}


@pytest.mark.parametrize(("args", "words"), SPLITS.values(), ids=SPLITS)
def test_a_split_that_cannot_be_is_refused(args: Words, words: Words, places: dict[str, Path], tmp_path: Path) -> None:
    check_command("split", args, words, places, tmp_path / "sides")


@pytest.mark.parametrize("what", ["file", "bare"])
def test_a_split_never_takes_the_place_of_something_else(what: str, places: dict[str, Path]) -> None:
    (places["bare"] / "thesis.txt").write_text("mine")
    check_refused(podium("split", places["log"], "--out", places[what], "--json"), "--out", "new folder")


LEARNED: dict[str, tuple[Words, Words]] = {
    "a log that is missing": (("--logs", "{bare}/absent"), ("logs", "manifest.json")),
    "a file": (("--logs", "{file}"), ("logs", "manifest.json")),
    "the split instead of its train side": (("--logs", "{train}/.."), ("logs", "manifest.json")),
    "an unknown stage": (("--logs", "{train}", "--stage", "serving"), ("--stage", "one of retrieval", "'serving'")),
    "no log": ((), ("--logs",)),
}


@pytest.mark.parametrize(("args", "words"), LEARNED.values(), ids=LEARNED)
def test_a_training_that_cannot_be_is_refused(
    args: Words, words: Words, places: dict[str, Path], tmp_path: Path
) -> None:
    check_command("train", args, words, places, tmp_path / "bundles")


def test_a_log_without_events_trains_a_bundle_that_says_what_was_left_out(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b"")
    check_refused(podium("ingest", "podium", tmp_path / "events.jsonl", "--out", tmp_path / "log"), "at least one row")
    done = podium("train", "--logs", tmp_path / "log", "--out", tmp_path / "bundles", "--json")
    assert done.code == 0, done.err
    left_out = {step["name"] for step in json.loads(done.out)["steps"] if step["left_out"]}
    assert left_out >= {"retrieval.lexical", "retrieval.covisit", "suggest.index", "ranking.ranker", "rerank.trade"}
    asked = podium("explain", "--bundle", tmp_path / "bundles", "--item", "i1")
    assert (asked.code, json.loads(asked.out)["lost_by"]) == (0, "catalogue"), asked.err


EVALUATED: dict[str, tuple[Words, Words]] = {
    "no bundle": (("--bundle", "{bare}", "--logs", "{test}"), ("--bundle", "podium train")),
    "a log that is missing": (("--bundle", "{bundle}", "--logs", "{bare}/absent"), ("logs", "manifest.json")),
    "a history that is missing": (
        ("--bundle", "{bundle}", "--logs", "{test}", "--history", "{bare}"),
        ("logs", "manifest.json"),
    ),
    "a baseline that is none": (
        ("--bundle", "{bundle}", "--logs", "{test}", "--baseline", "{bare}"),
        ("--bundle", "podium train"),
    ),
    "an unknown state": (("--bundle", "{bundle}", "--logs", "{test}", "--state", "fluid"), ("--state", "rolling")),
    "an unknown stage": (("--bundle", "{bundle}", "--logs", "{test}", "--stage", "last"), ("--stage", "retrieval")),
    "an unknown slice": (("--bundle", "{bundle}", "--logs", "{test}", "--by", "mood"), ("--by", "arm", "'mood'")),
    "no sample": (("--bundle", "{bundle}", "--logs", "{test}", "--sample", "0"), ("--sample", "at least 1")),
    "a sample of text": (("--bundle", "{bundle}", "--logs", "{test}", "--sample", "x"), ("--sample", "integer")),
    "a gate that is missing": (
        ("--bundle", "{bundle}", "--logs", "{test}", "--gate", "{bare}/gate.toml"),
        ("gate.toml", "existing TOML file"),
    ),
    "a gate that is no TOML": (("--bundle", "{bundle}", "--logs", "{test}", "--gate", "{file}"), ("file", "TOML")),
    "a truth that is missing": (
        ("--bundle", "{bundle}", "--logs", "{test}", "--sample", "5", "--truth", "{bare}"),
        ("truth",),
    ),
}


@pytest.mark.parametrize(("args", "words"), EVALUATED.values(), ids=EVALUATED)
def test_an_evaluation_that_cannot_be_is_refused(
    args: Words, words: Words, places: dict[str, Path], tmp_path: Path
) -> None:
    check_command("evaluate", args, words, places, tmp_path / "report")


@pytest.mark.parametrize("rows", [[], [{"event_id": "u", "type": "user", "time": 1_767_600_000_000, "user_id": "a"}]])
def test_a_log_that_asks_nothing_cannot_be_evaluated(rows: list[object], shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(jsonl(*rows))
    done = podium("ingest", "podium", tmp_path / "events.jsonl", "--out", tmp_path / "log", "--json")
    assert done.code == (0 if rows else 2), done.err
    args = ("--bundle", shop.bundle, "--logs", tmp_path / "log", "--out", tmp_path / "report", "--json")
    check_refused(podium("evaluate", *args), "log")


RUN = b"q1 Q0 a 1 2.0 x\nq1 Q0 b 2 1.0 x\nq2 Q0 a 1 1.5 x\n"
QRELS = b"q1 0 a 1\nq2 0 b 0\n"
# the run, the judgments, the metric, words of the error
LISTS: dict[str, tuple[bytes, bytes, str, Words]] = {
    "an empty run": (b"", QRELS, "ndcg@10", ("run.txt", "at least one row")),
    "a run of blank lines": (b"\n \n", QRELS, "ndcg@10", ("run.txt", "at least one row")),
    "a score that is text": (RUN.replace(b"1.0", b"high"), QRELS, "ndcg@10", ("run.txt, line 2", "score", "'high'")),
    "a score that is nan": (RUN.replace(b"1.0", b"nan"), QRELS, "ndcg@10", ("run.txt, line 2", "not nan")),
    "a field too few": (RUN.replace(b" 1.0", b""), QRELS, "ndcg@10", ("run.txt, line 2", "6 fields")),
    "a field too many": (RUN + b"q3 Q0 a 1 1.0 x y\n", QRELS, "ndcg@10", ("run.txt, line 4", "6 fields")),
    "an item twice": (RUN + b"q1 Q0 a 3 0.5 x\n", QRELS, "ndcg@10", ("run.txt, line 4", "item", "once")),
    "a run in Latin-1": (RUN + b"q4 Q0 caf\xe9 1 1.0 x\n", QRELS, "ndcg@10", ("run.txt, line 4", "UTF-8")),
    "a run in UTF-16": (RUN.decode().encode("utf-16"), QRELS, "ndcg@10", ("run.txt, line 1", "UTF-8")),
    "no judgments": (RUN, b"", "ndcg@10", ("qrels.txt", "at least one row")),
    "a grade that is text": (RUN, QRELS.replace(b"a 1", b"a good"), "ndcg@10", ("qrels.txt, line 1", "'good'")),
    "a grade that is infinite": (RUN, QRELS.replace(b"a 1", b"a inf"), "ndcg@10", ("qrels.txt, line 1", "finite")),
    "a judgment twice": (RUN, QRELS + b"q1 0 a 0\n", "ndcg@10", ("qrels.txt, line 3", "once")),
    "judgments with a column too many": (RUN, RUN, "ndcg@10", ("qrels.txt, line 1", "4 fields")),
    "an unknown metric": (RUN, QRELS, "dgc@10", ("metric", "one of ndcg", "'dgc@10'")),
    "a negative cut": (RUN, QRELS, "ndcg@-1", ("metric", "@10", "'ndcg@-1'")),
    "a cut of nothing": (RUN, QRELS, "ndcg@0", ("metric", "@10")),
    "a cut of text": (RUN, QRELS, "ndcg@ten", ("metric", "@10")),
    "a fraction of a cut": (RUN, QRELS, "ndcg@1.5", ("metric", "@10")),
    "a cut of the area": (RUN, QRELS, "auc@10", ("metric", "auc without a cut")),
}


@pytest.mark.parametrize(("run", "qrels", "metric", "words"), LISTS.values(), ids=LISTS)
def test_lists_that_cannot_be_measured_are_refused(
    run: bytes, qrels: bytes, metric: str, words: Words, tmp_path: Path
) -> None:
    check_lists((run, qrels, metric), words, tmp_path)


def check_lists(given: tuple[bytes, bytes, str], words: Words, folder: Path) -> None:
    """A run, judgments and a metric that `podium metrics` refuses."""
    (folder / "run.txt").write_bytes(given[0])
    (folder / "qrels.txt").write_bytes(given[1])
    args = ("--run", folder / "run.txt", "--qrels", folder / "qrels.txt", "-m", given[2], "--json")
    check_refused(podium("metrics", *args), *words)


def test_the_lists_the_table_spoils_are_good(tmp_path: Path) -> None:
    (tmp_path / "run.txt").write_bytes(RUN)
    (tmp_path / "qrels.txt").write_bytes(QRELS)
    args = ("--run", tmp_path / "run.txt", "--qrels", tmp_path / "qrels.txt", "-m", "ndcg@10", "--json")
    assert podium("metrics", *args).code == 0


# the name of the run file, its bytes, words of the error
TABLES: dict[str, tuple[str, bytes, Words]] = {
    "a CSV without scores": ("run.csv", b"query_id,item_id\nq1,a\n", ("columns", "score")),
    "a CSV without queries": ("run.csv", b"item_id,score\na,1\n", ("columns", "query_id")),
    "a CSV with a ragged row": ("run.csv", b"query_id,item_id,score\nq1,a,1\nq1,b,2,3,4\n", ("file", "CSV")),
    "a CSV with an empty cell": ("run.csv", b"query_id,item_id,score\nq1,a,1\nq1,,2\n", ("run.csv, line 3", "item_id")),
    "a CSV with a word for a score": ("run.csv", b"query_id,item_id,score\nq1,a,top\n", ("run.csv, line 2", "'top'")),
    "a CSV with a header only": ("run.csv", b"query_id,item_id,score\n", ("at least one row",)),
    "Parquet that is none": ("run.parquet", b"PAR1", ("run.parquet", "Parquet")),
    "gzip that is none": ("run.txt.gz", RUN, ("run.txt.gz", "gzip")),
}


@pytest.mark.parametrize(("name", "data", "words"), TABLES.values(), ids=TABLES)
def test_a_table_that_is_no_run_is_refused(name: str, data: bytes, words: Words, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "qrels.txt").write_bytes(QRELS)
    args = ("--run", tmp_path / name, "--qrels", tmp_path / "qrels.txt", "-m", "mrr", "--json")
    check_refused(podium("metrics", *args), *words)


@pytest.mark.parametrize("kind", ["list", "float id"])
def test_a_frame_of_other_types_is_no_run(kind: str, tmp_path: Path) -> None:
    columns = {"query_id": ["q1"], "item_id": ["a"], "score": [[1.0]]} if kind == "list" else {}
    columns = columns or {"query_id": [1.5], "item_id": ["a"], "score": [1.0]}
    pl.DataFrame(columns).write_parquet(tmp_path / "run.parquet")
    (tmp_path / "qrels.txt").write_bytes(QRELS)
    args = ("--run", tmp_path / "run.parquet", "--qrels", tmp_path / "qrels.txt", "-m", "mrr", "--json")
    check_refused(podium("metrics", *args), "run.parquet")


OTHERS: dict[str, tuple[Words, Words]] = {
    "an unknown command": (("rank",), ("No such command", "rank")),
    "an unknown option": (("doctor", "--deep"), ("--deep",)),
    "no workers": (("serve", "--bundle", "{bundle}", "--workers", "0"), ("--workers",)),
    "a port of text": (("serve", "--bundle", "{bundle}", "--port", "http"), ("--port", "integer")),
    "a port out of range": (("serve", "--bundle", "{bundle}", "--port", "70000"), ("PORT", "65535")),
    "an open address without keys": (
        ("serve", "--bundle", "{bundle}", "--root", "{bare}", "--host", "0.0.0.0"),
        ("host", "keys", "'0.0.0.0'"),
    ),
    "no events to export": (("events", "export", "--root", "{bare}", "--out", "{bare}/log"), ("--root", "events.db")),
    "a replay of no log": (
        ("replay", "--url", "http://127.0.0.1:9", "--logs", "{bare}", "--out", "{bare}/r"),
        ("logs",),
    ),
    "a replay of no service": (
        ("replay", "--url", "http://127.0.0.1:9", "--logs", "{test}", "--sample", "1", "--out", "{bare}/r"),
        ("--url", "127.0.0.1:9"),
    ),
    "a replay of no address": (("replay", "--url", "nowhere", "--logs", "{test}", "--out", "{bare}/r"), ("--url",)),
    "a database that is none": (
        ("events", "export", "--root", "{spoilt}", "--out", "{bare}/log"),
        ("database", "events.db"),
    ),
    "keys that are no JSON": (("serve", "--bundle", "{bundle}", "--root", "{spoilt}"), ("keys.json", "JSON list")),
    "a key beside such keys": (
        ("keys", "add", "app", "--root", "{spoilt}", "--scope", "read"),
        ("keys.json", "JSON list"),
    ),
    "a root that is a file": (
        ("keys", "add", "app", "--root", "{file}", "--scope", "read"),
        ("file: a path", "exists"),
    ),
    "a market below a file": (("simulate", "{file}/market", "--world", "tiny"), ("file/market: a path", "directory")),
    "bundles below a file": (("train", "--logs", "{train}", "--out", "{file}"), ("file", "a path", "directory")),
    "a configuration nowhere": (("init", "{bare}/absent/podium.toml"), ("podium.toml: a path", "No such file")),
    "bundles of nowhere": (("bundle", "list", "{bare}/absent"), ("ROOT", "a bundles root", "absent")),
    "a run that is a folder": (
        ("metrics", "--run", "{bare}", "--qrels", "{file}", "-m", "mrr"),
        ("bare", "existing file"),
    ),
    "a moment of text": (("explain", "--bundle", "{bundle}", "--item", "i1", "--at", "now"), ("--at", "integer")),
    "a moment before 1970": (
        ("explain", "--bundle", "{bundle}", "--item", "i1", "--at", "-5"),
        ("--at", "-5 is not in the range"),
    ),
    "a key of no scope": (("keys", "add", "app", "--root", "{bare}"), ("--scope",)),
    "a key of an unknown scope": (("keys", "add", "app", "--root", "{bare}", "--scope", "all"), ("--scope", "'all'")),
    "a demo of no log": (
        ("demo", "--logs", "{bare}", "--no-serve", "--out", "{bare}/demo"),
        ("source", "known format"),
    ),
    "a demo of no world": (("demo", "--world", "x", "--no-serve", "--out", "{bare}/demo"), ("world", "one of", "'x'")),
}


@pytest.mark.parametrize(("args", "words"), OTHERS.values(), ids=OTHERS)
def test_a_question_no_command_understands_is_refused(args: Words, words: Words, places: dict[str, Path]) -> None:
    quiet = ("--json",) if args[0] in ("demo", "replay", "events", "simulate", "train", "metrics") else ()
    check_refused(podium(*(arg.format(**places) for arg in args), *quiet), *words)
