"""One legal log taken through every command, each when it is first asked for."""

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from fault_checks import Outcome, podium
from legal_data import START, Legal

from pipeline.errors import InputError
from pipeline.logs.partitions import MANIFEST
from pipeline.logs.read import Log
from serving.app import create_app
from serving.engine import Engine
from serving.settings import ServingConfig, Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette would rather have a client that is not packaged yet
    from starlette.testclient import TestClient

# Small enough for a log of sixty pages: every part that can be learned is.
CONFIG = """
[retrieval.tower]
epochs = 1
buckets = 64
dimensions = 8
[ranking]
trees = 4
least_rows = 2
least_requests = 10
least_positives = 5
unexposed_pages = 20
[rerank]
trades = [0.9]
[rerank.listwise]
trees = 4
least_rows = 2
least_pages = 5
[query_suggest]
min_subjects = 1
"""
ASKED: dict[str, object] = {
    "/v1/search": {"query": "red shoe", "user_id": "u1"},
    "/v1/recommend": {"user_id": "u1", "surface": "home"},
    "/v1/rank": {"user_id": "u1", "query": "red shoe", "items": [{"item_id": "i1"}, {"item_id": "nobody knows it"}]},
    "/v1/events": {"event_id": "e", "type": "feedback", "time": START, "user_id": "u1", "item_id": "i1"}
    | {"action": "click"},
}
GATE = """
[minimum]
"MODE.ndcg@10" = 0.0
[difference]
"MODE.ndcg@10" = { mean = -1.0, low = -1.0 }
[slices]
metrics = ["MODE.ndcg@10"]
dimensions = ["surface", "user"]
allowed_drop = 0.5
"""


@dataclass
class Bench:
    """What a row has come to: `log`, `sides`, `bundles`, `report` lie below root where a command made them."""

    legal: Legal
    root: Path
    done: dict[str, Outcome] = field(default_factory=dict)

    def __call__(self, command: str) -> Outcome:
        if command not in self.done:
            self.done[command] = getattr(self, f"_{command}")()
        return self.done[command]

    @property
    def config(self) -> Path:
        path = self.root / "podium.toml"
        path.write_text(CONFIG)
        return path

    def side(self, name: str) -> Path:
        """A side of the split; the whole log where there is none."""
        self("split")
        side = self.root / "sides" / name
        return side if (side / MANIFEST).exists() else self.root / "log"

    def _ingest(self) -> Outcome:
        source = self.legal.write(self.root / "source")
        return podium("ingest", self.legal.format, source, "--out", self.root / "log", "--json")

    def _split(self) -> Outcome:
        self("ingest")
        return podium("split", self.root / "log", "--out", self.root / "sides", *self.legal.split, "--json")

    def _train(self) -> Outcome:
        logs = self.side("train")
        return podium("train", "--logs", logs, "--out", self.root / "bundles", "--config", self.config, "--json")

    def _evaluate(self) -> Outcome:
        return self._evaluated("report")

    def _gate(self) -> Outcome:
        self("evaluate")
        report = self.root / "report/report.json"
        mode = next(iter(json.loads(report.read_text())["modes"])) if report.exists() else "rank"
        (self.root / "gate.toml").write_text(GATE.replace("MODE", mode))
        bundles = self.root / "bundles"
        return self._evaluated("gated", "--baseline", bundles, "--gate", self.root / "gate.toml")

    def _evaluated(self, name: str, *more: object) -> Outcome:
        self("train")
        logs = self.side("test")
        return podium(
            "evaluate", "--bundle", self.root / "bundles", "--logs", logs, "--out", self.root / name, "--json", *more
        )

    def _examination(self) -> Outcome:
        self("ingest")
        return podium("examination", "--logs", self.root / "log", "--model", "all", "--json")

    def _offpolicy(self) -> Outcome:
        self("evaluate")
        return podium("offpolicy", "--run", self.root / "report/run.parquet", "--logs", self.side("test"), "--json")

    def _compare(self) -> Outcome:
        """The logged order and its reverse, against the clicks or judgments."""
        self("ingest")
        runs, qrels = written_runs(self.root / "log", self.root)
        given = [part for run in runs for part in ("--run", run)]
        return podium("compare", *given, "--qrels", qrels, "--test", "bootstrap", "--json")

    def _features(self) -> Outcome:
        self("train")
        return podium("features", "--bundle", self.root / "bundles", "--json")

    def _check(self) -> Outcome:
        self("ingest")
        return podium("events", "check", "--logs", self.root / "log", "--json")

    def _serve(self) -> Outcome:
        """A service over the bundle, one request of each kind and an event; what it answered, as JSON by path."""
        self("train")
        try:
            patient = ServingConfig(deadline_ms=600_000)  # however busy the machine
            settings = Settings(root=self.root / "tenant", serving=patient)
            app = create_app(lambda: Engine(self.root / "bundles"), settings)
            with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
                answers = {path: client.post(path, json=body) for path, body in ASKED.items()}
                answers["/v1/suggest"] = client.get("/v1/suggest?placement=complete&prefix=re")
        except InputError as error:
            return Outcome(error.exit_code, "", str(error))
        told = {path: {"status": each.status_code, "body": each.json()} for path, each in answers.items()}
        return Outcome(0, json.dumps(told), "")

    def _explain(self) -> Outcome:
        self("train")
        return podium(
            "explain", "--bundle", self.root / "bundles", "--user", "u1", "--query", "red shoe", "--item", "i1"
        )


def written_runs(log: Path, root: Path) -> tuple[list[Path], Path]:
    """Two runs and their judgments as Parquet, of whatever requests the log has."""
    found = Log.open(log) if (log / MANIFEST).exists() else None
    if found is not None and found.has("impression"):
        cells = found.frame("impression").select("request_id", "items").explode("items").unnest("items")
        rows = cells.select(query_id="request_id", item_id="item_id", score=-pl.col("position").cast(pl.Float64))
        clicked = found.frame("feedback").select(query_id="request_id", item_id="item_id", grade=1.0).drop_nulls()
        grades = clicked.unique()
    elif found is not None and found.has("judgment"):
        grades = found.frame("judgment").select(query_id="query", item_id="item_id", grade="grade")
        rows = grades.with_columns(score=pl.int_range(pl.len()).cast(pl.Float64)).drop("grade")
    else:
        rows = pl.DataFrame(schema={"query_id": pl.String, "item_id": pl.String, "score": pl.Float64})
        grades = pl.DataFrame(schema={"query_id": pl.String, "item_id": pl.String, "grade": pl.Float64})
    rows = rows.unique(["query_id", "item_id"], keep="first", maintain_order=True)
    rows.write_parquet(root / "one.parquet")
    rows.with_columns(-pl.col("score")).write_parquet(root / "two.parquet")
    grades.write_parquet(root / "qrels.parquet")
    return [root / "one.parquet", root / "two.parquet"], root / "qrels.parquet"
