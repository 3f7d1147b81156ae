"""A plain table of what was clicked after which query, and nothing else, becomes a search."""

import json
import random
from pathlib import Path

from click.testing import CliRunner

from podium import cli
from serving.engine import Engine
from serving.ports import Ask, SuggestAsk

DAY = 86_400_000
START = 1_735_700_000_000
TOPICS = {
    "running shoes": [f"s{n}" for n in range(6)],
    "red dress": [f"d{n}" for n in range(6)],
    "007": [f"c{n}" for n in range(6)],
    "tent for two": [f"t{n}" for n in range(6)],
}
CONFIG = "[retrieval.tower]\ndimensions = 16\nbuckets = 4096\n"


def table() -> str:
    chance = random.Random(0)
    rows = ["query,item_id,action,time,user_id"]
    for search in range(500):
        query, moment = chance.choice(list(TOPICS)), START + search * DAY // 20 + chance.randrange(1000)
        for number, item in enumerate(chance.sample(TOPICS[query], 2)):
            rows.append(f"{query},{item},click,{moment + number * 60_000},u{chance.randrange(40)}")
    return "\n".join(rows) + "\n"


def run(*arguments: str | Path) -> None:
    done = CliRunner().invoke(cli, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output


def test_a_plain_table_of_queries_and_clicks_trains_completes_and_finds(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text(table())
    (tmp_path / "podium.toml").write_text(CONFIG)
    run("ingest", "csv", tmp_path / "clicks.csv", "--out", tmp_path / "log")
    run("split", tmp_path / "log", "--out", tmp_path / "split", "--gap", "1h")
    trained = ("--logs", tmp_path / "split/train", "--out", tmp_path / "bundles", "--config", tmp_path / "podium.toml")
    run("train", *trained)
    run("evaluate", "--bundle", tmp_path / "bundles", "--logs", tmp_path / "split/test", "--out", tmp_path / "report")
    systems = json.loads((tmp_path / "report/report.json").read_text())["modes"]["next"]["systems"]
    assert systems["podium"]["ndcg@10"]["mean"] > 2 * systems["popularity"]["ndcg@10"]["mean"]
    engine = Engine(tmp_path / "bundles")
    now = engine.bundle.cutoff
    for query, items in TOPICS.items():
        prefix = SuggestAsk("s", "complete", query[:3], "", "nobody", 5, now)
        assert [each.query for each in engine.suggest(prefix)] == [query]
        found = engine.answer(Ask(f"r {query}", now, query=query)).item_ids[:6]
        assert len(set(found) & set(items)) >= 4  # of six, among 24
