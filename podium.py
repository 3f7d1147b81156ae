"""Podium on the command line: the table of contents of the whole system, one short function a command.

Heavy libraries are imported inside the commands, so that `podium --help` answers at once.
"""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pipeline.console import Commands, counted, duration, pairs, show
from pipeline.errors import InputError
from pipeline.progress import progress
from pipeline.threads import configure_threads
from serving import analysis, operations
from serving.options import PATH, as_json, config_file


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option("0.1.0", prog_name="podium")
def cli() -> None:
    """Search and recommendation ranking: from a log of what people were shown to a ranked page."""


def main() -> None:
    configure_threads(2)
    cli()


@cli.command()
@click.argument("out", type=PATH)
@click.option("--world", default="base", show_default=True, help="A shipped world, or FILE#NAME.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the world.")
@click.option("--seed", type=int, help="Seed of the world.")
@click.option("--rounds", type=int, help="The closed loop: so many rounds of serving, logging and training.")
@click.option("--days-per-round", type=int, default=1, show_default=True, help="Simulated days of a round.")
@click.option("--policy", type=PATH, help="The first round's bundle, of this world; else the shop's own logger.")
@click.option("--explore", type=float, help="Share of requests with randomised pages.  [default: the world's]")
@click.option("--explore-width", "width", type=int, default=64, show_default=True, help="Items these are drawn from.")
@click.option("--hours", type=float, default=6.0, show_default=True, help="Between a bundle's moments of news.")
@click.option("--no-retrain", is_flag=True, help="One bundle for all rounds.")
@config_file
@as_json
def simulate(
    out: Path, world: str, overrides: tuple[str, ...], seed: int | None, rounds: int | None, json_: bool, **loop: Any
) -> None:
    """Simulate a market: OUT/events (raw), OUT/log (ingested) and, apart, OUT/truth; or, with --rounds, a market that
    a bundle answers: OUT/round-K/{events,log,truth}, OUT/log, OUT/bundles and what became of exposure and utility."""
    from pipeline.market.world import load_world

    chosen = load_world(world, pairs(overrides, "--set"), seed)
    if rounds is not None:
        from serving.loop import LoopOptions, run_loop

        loop["retrain"] = not loop.pop("no_retrain")
        with progress("simulate", quiet=json_) as report:
            done = run_loop(chosen, out, LoopOptions(rounds, **loop), report)
        show(done.values, json_, done.lines)
        return
    from pipeline.logs.ingest import ingest as ingest_events
    from pipeline.market.simulate import simulate as run

    if loop["policy"] is not None or loop["explore"] is not None or loop["no_retrain"]:
        raise InputError("--rounds", "how many rounds; --policy, --explore and --no-retrain belong to them")
    with progress("simulate", quiet=json_) as report:
        market = run(chosen, out, report)
        report("ingest", 0.95)
        log = ingest_events("podium", [out / "events"], out / "log")
    show(asdict(market) | {"log": asdict(log)}, json_)


@cli.command()
@click.argument("format_", metavar="FORMAT")
@click.argument("sources", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, help="The log; an existing one grows.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Options of the format (csv: columns).")
@click.option("--strict", is_flag=True, help="End with 2 when a row was quarantined.")
@config_file
@as_json
def ingest(
    format_: str,
    sources: tuple[Path, ...],
    out: Path,
    options: tuple[str, ...],
    strict: bool,
    config: Path | None,
    json_: bool,
) -> None:
    """Read events of FORMAT (auto recognises it) from SOURCES into a log; bad rows go to its quarantine.

    Ends with 2 when there was nothing that could be taken.
    """
    from pipeline.config import load_section
    from pipeline.logs.config import LogsConfig
    from pipeline.logs.ingest import check_any
    from pipeline.logs.ingest import ingest as run

    fmt, rules = None if format_ == "auto" else format_, load_section(config, "logs", LogsConfig)
    told = pairs(options, "--option")
    with progress("ingest", quiet=json_) as report:
        done = run(fmt, list(sources), out, strict=strict, options=told, config=rules, on_progress=counted(report))
    show(asdict(done), json_)
    check_any(done, sources, out)


@cli.command()
@click.argument("logs", type=PATH)
@click.option("--out", type=PATH, required=True, help="Where train, valid and test go.")
@click.option("--by", default="time", show_default=True, help="time, last, query or user.")
@click.option("--users", type=PATH, help="With --by last: only these users' last interactions are held out.")
@click.option("--valid", type=float, default=0.1, show_default=True, help="Share of validation.")
@click.option("--test", type=float, default=0.15, show_default=True, help="Share of test.")
@click.option("--gap", default="24h", show_default=True, help="Time left out before each boundary (30m, 24h, 7d).")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of a split by query or user.")
@as_json
def split(
    logs: Path, out: Path, by: str, users: Path | None, valid: float, test: float, gap: str, seed: int, json_: bool
) -> None:
    """Split a log into train, valid and test without letting the future into the past."""
    from pipeline.logs.split import split as run

    gap_ms = duration(gap, "--gap")
    done = run(logs, out, by, users=users, valid=valid, test=test, gap_ms=gap_ms, seed=seed)
    show(asdict(done), json_)


@cli.command()
@click.option("--logs", type=PATH, required=True, help="The log to learn from (of a split: its train side).")
@click.option("--out", type=PATH, required=True, help="The bundles root.")
@click.option("--stage", "stages", multiple=True, help="Only these: retrieval, ranking, rerank, suggest.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Learn from what was known when this day began (UTC).")
@config_file
@as_json
def train(
    logs: Path,
    out: Path,
    stages: tuple[str, ...],
    seed: int,
    device: str,
    until: datetime | None,
    config: Path | None,
    json_: bool,
) -> None:
    """Run the batch jobs over a log and bind a bundle; steps done before are reused."""
    from serving.jobs import STAGES
    from serving.jobs import train as run

    with progress("train", quiet=json_) as report:
        before = None if until is None else int(until.replace(tzinfo=UTC).timestamp() * 1000)
        done = run(
            logs,
            out,
            config=config,
            stages=stages or STAGES,
            seed=seed,
            device=device,
            until=before,
            on_progress=report,
        )
    show(asdict(done), json_, done.lines)


@cli.command()
@click.option("--bundle", type=PATH, required=True, help="A bundle or a bundles root.")
@click.option("--logs", type=PATH, required=True, help="The log to replay (of a split: its test side).")
@click.option("--out", type=PATH, required=True, help="Where report.{json,html}, run.parquet, requests.parquet go.")
@click.option("--history", type=PATH, multiple=True, help="More earlier logs, for logs not made by split.")
@click.option("--state", type=click.Choice(["rolling", "frozen"]), default="rolling", show_default=True)
@click.option("--stage", type=click.Choice(["retrieval", "ranking", "rerank"]), help="Evaluate one stage alone.")
@click.option("--exclude-seen", is_flag=True, help="Mode next: without what the subject acted on before.")
@click.option("--by", help="Report slices by this field of the impression, such as arm.")
@click.option("--sample", type=int, help="Only that many requests, by hash of request_id.")
@click.option("--truth", type=PATH, help="The truth of a simulated market: adds oracle and recovered.")
@click.option("--baseline", type=PATH, help="Another bundle: what changed against it, on the same requests.")
@click.option("--gate", type=PATH, help="What must hold (docs/evaluation.md); ends with 3 when it does not.")
@config_file
@as_json
def evaluate(bundle: Path, logs: Path, out: Path, config: Path | None, json_: bool, **options: Any) -> None:
    """Replay a log through the cascade that serves, and report NDCG and the rest with intervals."""
    from serving.replay.command import evaluate_bundle

    with progress("evaluate", quiet=json_) as report:
        done = evaluate_bundle(bundle, logs, out, config=config, on_progress=report, **options)
    show(done.values, json_, done.lines)


@cli.command()
@click.option("--run", "run_file", type=PATH, required=True, help="A run: TREC text, Parquet or CSV.")
@click.option("--qrels", type=PATH, help="Judgments: TREC text, Parquet or CSV.  [default: the run's column grade]")
@click.option("-m", "--metric", "metrics", multiple=True, required=True, help="ndcg@10, mrr, recall@100, gauc, ...")
@click.option(
    "--items", type=PATH, help="Category, topics, vector, popularity of items: for ild@10, alpha_ndcg@10, ..."
)
@click.option("--ties", type=click.Choice(["expected", "id", "trec"]), default="id", show_default=True)
@click.option("--empty", type=click.Choice(["zero", "skip"]), default="zero", show_default=True)
@click.option("--per-query", is_flag=True, help="Also the value of each query.")
@click.option("--out", type=PATH, help="Write the value of each query here, as .parquet or .csv.")
@as_json
def metrics(
    run_file: Path,
    qrels: Path | None,
    items: Path | None,
    metrics: tuple[str, ...],
    per_query: bool,
    out: Path | None,
    json_: bool,
    **rules: Any,
) -> None:
    """Ranking metrics of any run file; no model of ours needed."""
    from pipeline.metrics.slates.report import report_with_slates

    report = report_with_slates(run_file, qrels, items, list(metrics), **rules)
    if out is not None:
        report.write_per_query(out)
    show(report.as_json(per_query=per_query), json_, lambda: report.lines(per_query=per_query))


@cli.command()
@click.option("--url", required=True, help="A service started with serve --replay.")
@click.option("--logs", type=PATH, required=True, help="The log to replay.")
@click.option("--out", type=PATH, required=True, help="Where report.json, report.html and run.parquet go.")
@click.option("--sample", type=int, help="Only that many requests, by hash of request_id.")
@click.option("--key", default="", help="An API key with the admin scope, where the service asks for one.")
@as_json
def replay(url: str, logs: Path, out: Path, sample: int | None, key: str, json_: bool) -> None:
    """Replay a log through a running service: post its events in time order, ask its requests."""
    from serving.replay.command import replay_service

    with progress("replay", quiet=json_) as report:
        done = replay_service(url, logs, out, sample=sample, key=key, on_progress=report)
    show(done.values, json_, done.lines)


@cli.command()
@click.option("--bundle", type=PATH, required=True, help="A bundle or a bundles root.")
@click.option("--logs", type=PATH, required=True, help="The training log, grown by `podium events compact`.")
@click.option("--snapshots", type=PATH, required=True, help="What the service kept: ROOT/snapshots.")
@click.option("--out", type=PATH, required=True, help="Where skew.json goes.")
@as_json
def skew(bundle: Path, logs: Path, snapshots: Path, out: Path, json_: bool) -> None:
    """Compare the features the service used with those training would compute; ends with 3 when any differ."""
    from serving.skew import skew as run

    with progress("skew", quiet=json_) as report:
        done = run(bundle, logs, snapshots, out, report)
    show(done.values, json_, done.lines)


@cli.command()
@click.option("--bundle", type=PATH, required=True, help="A bundle or a bundles root.")
@as_json
def features(bundle: Path, json_: bool) -> None:
    """What the ranker's features looked like in training: coverage, drift, AUC alone, importance."""
    from pipeline.bundle import open_bundle
    from pipeline.features.report import lines, read_report

    found = read_report(open_bundle(bundle))
    show(found, json_, lambda: lines(found))


@cli.command()
@click.option("--bundle", type=PATH, required=True, help="A bundle or a bundles root.")
@click.option("--host", help="Address; beyond loopback only with API keys.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port.  [default: 8000]")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--root", type=PATH, help="The tenant's data root.  [default: beside the bundles]")
@click.option("--replay", is_flag=True, help="Accept times and request ids; log no impressions.")
@config_file
def serve(bundle: Path, workers: int, config: Path | None, **given: Any) -> None:
    """Serve the HTTP API and the web page."""
    from serving.run import serve as run

    run(bundle, workers=workers, config=config, **given)


@cli.command()
@click.option("--logs", type=PATH, help="A log of your own; without it a simulated market.")
@click.option("--world", default="base", show_default=True, help="The world to simulate.")
@click.option("--port", type=int, default=8000, show_default=True)
@click.option("--no-serve", is_flag=True, help="Stop after the evaluation.")
@click.option("--out", type=PATH, default=Path("demo"), show_default=True, help="Where everything goes.")
@config_file
@as_json
def demo(logs: Path | None, world: str, port: int, no_serve: bool, out: Path, config: Path | None, json_: bool) -> None:
    """The main job: log, split, train, evaluate, then serve API and web page."""
    from serving.demo import run_demo

    with progress("demo", quiet=json_) as report:
        done = run_demo(out, logs=logs, world=world, config=config, on_progress=report)
    show(done.values, json_, done.lines)
    if not no_serve:
        from serving.run import serve as run

        run(out / "bundles", workers=1, config=config, host=None, port=port, root=out, replay=False)


@cli.command()
@click.option("--bundle", "path", type=PATH, required=True, help="A bundle or a bundles root.")
@click.option("--user", default="", help="The user who asks.")
@click.option("--query", default="", help="The query; without it a recommendation.")
@click.option("--item", required=True, help="The item in question.")
@click.option("--at", type=click.IntRange(0, 2**42), help="Time of the request in ms.  [default: the bundle's cutoff]")
def explain(path: Path, user: str, query: str, item: str, at: int | None) -> None:
    """Why an item is, or is not, on the page."""
    from serving.engine import explain as run

    click.echo(json.dumps(run(path, user, query, item, at), indent=1))


@cli.command()
@as_json
def doctor(json_: bool) -> None:
    """Check the installation: versions, threads, which Faiss, what is missing."""
    from serving.doctor import examine

    found = examine()
    show(found.values, json_, found.lines)
    sys.exit(0 if found.ok else 1)


@cli.command()
@click.argument("path", type=PATH, default=Path("podium.toml"))
def init(path: Path) -> None:
    """Write a podium.toml with every key, its default and what it means."""
    from serving.defaults import write_defaults

    write_defaults(path)
    click.echo(f"wrote {path}")


for command in (*analysis.COMMANDS, *operations.COMMANDS):
    cli.add_command(command)


if __name__ == "__main__":
    main()
