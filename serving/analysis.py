"""Commands for the analyst: what a log says about examination, policies and past evaluations."""

from pathlib import Path
from typing import Any, Final

import click

from pipeline.console import show
from serving.options import PATH, as_json


class _Runs(click.Group):
    """`podium runs ROOT` is `podium runs list ROOT`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["list", *args])


@click.group(cls=_Runs, context_settings={"ignore_unknown_options": True})
def runs() -> None:
    """Past evaluations: list, compare."""


@runs.command("list")
@click.argument("roots", metavar="ROOT...", type=PATH, nargs=-1, required=True)
@as_json
def runs_list(roots: tuple[Path, ...], json_: bool) -> None:
    """Every evaluation at or below ROOT, latest first: when, protocol, log, bundle, headline, gate."""
    from serving.runs import list_runs

    found = list_runs(roots)
    show(found.values, json_, found.lines)


@runs.command("compare")
@click.argument("paths", metavar="RUN RUN...", type=PATH, nargs=-1, required=True)
@click.option("--unlike", is_flag=True, help="Compare runs of different protocols too, and say what differs.")
@as_json
def runs_compare(paths: tuple[Path, ...], unlike: bool, json_: bool) -> None:
    """Compare evaluations with the first, request by request."""
    from serving.runs import compare_runs

    found = compare_runs(paths, unlike=unlike)
    show(found.values, json_, found.lines)


@click.command()
@click.option("--run", "runs_", type=PATH, multiple=True, required=True, help="Two or more: TREC text, Parquet or CSV.")
@click.option("--qrels", type=PATH, required=True, help="Judgments: TREC text, Parquet or CSV.")
@click.option("-m", "--metric", "metrics", multiple=True, default=("ndcg@10",), show_default=True)
@click.option("--test", type=click.Choice(["permutation", "t", "bootstrap"]), default="permutation", show_default=True)
@click.option(
    "--correction",
    type=click.Choice(["holm", "bh", "bonferroni", "tukey", "none"]),
    default="holm",
    show_default=True,
    help="Over all pairs and metrics asked for; tukey over the pairs of a metric.",
)
@click.option("--baseline", type=click.Choice(["first", "all"]), default="all", show_default=True)
@click.option("--group", type=PATH, help="A table of each query's subject: their queries depend on each other.")
@click.option("--power", type=float, default=0.8, show_default=True, help="Of the smallest difference reported.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything drawn.")
@click.option("--ties", type=click.Choice(["expected", "id", "trec"]), default="id", show_default=True)
@click.option("--empty", type=click.Choice(["zero", "skip"]), default="zero", show_default=True)
@click.option("--out", type=PATH, help="Also write the result to this file, as JSON.")
@as_json
def compare(runs_: tuple[Path, ...], out: Path | None, json_: bool, **options: Any) -> None:
    """Which run is better: differences with intervals, tests, corrections, and what so many queries can show."""
    from serving.comparing import compare_files

    found = compare_files(runs_, out, **options)
    show(found.as_json(), json_, found.lines)


@click.command("offpolicy")
@click.option("--run", "runs_", type=PATH, multiple=True, required=True, help="TREC text, Parquet or CSV; repeatable.")
@click.option("--logs", type=PATH, required=True, help="A log with impressions; query ids are its request ids.")
@click.option("--examination", default="auto", show_default=True, help="auto, or a file {surface, position, p}.")
@click.option("--clip", type=float, help="The largest weight; without it none is cut.")
@click.option("--k", type=int, default=10, show_default=True, help="Places that count.")
@click.option("--mode", default="funnel", show_default=True, help="Whose rows of a run.parquet of `podium evaluate`.")
@click.option("--out", type=PATH, help="Also write the result to this file, as JSON.")
@as_json
def off_policy(runs_: tuple[Path, ...], logs: Path, json_: bool, **options: Any) -> None:
    """What the clicks of a log say of rankings it did not show: weighed, with intervals, or refused."""
    from serving.offpolicy import offpolicy

    found = offpolicy(runs_, logs, **options)
    show(found.values, json_, found.lines)


@click.command()
@click.option("--logs", type=PATH, required=True, help="A log with impressions and clicks.")
@click.option(
    "--model",
    type=click.Choice(["auto", "explored", "swaps", "pbm", "ubm", "dbn", "sdbn", "cascade", "all"]),
    default="auto",
    show_default=True,
)
@click.option("--surface", help="Only this one.")
@click.option("--together", is_flag=True, help="One estimate over all surfaces.")
@click.option("--columns", type=int, help="Width of a two-dimensional page: also factors of rows and columns.")
@click.option("--depth", type=int, help="Only that many positions.")
@click.option("--smooth", is_flag=True, help="Draw positions to a power law as far as their errors warrant.")
@click.option("--held-out", "share", type=float, default=0.2, show_default=True, help="Share of requests to judge by.")
@click.option("--starts", type=int, default=5, show_default=True, help="Random starts, which must agree.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything drawn.")
@click.option("--out", type=PATH, help="Also write {surface, position, p, low, high, model}: .json or .parquet.")
@as_json
def examination(logs: Path, out: Path | None, json_: bool, **options: Any) -> None:
    """How much each place of a page is looked at, by click models, or why the log cannot say."""
    from serving.examination import estimate

    found = estimate(logs, out, **options)
    show(found.values, json_, found.lines)


COMMANDS: Final[tuple[click.Command, ...]] = (runs, compare, off_policy, examination)
