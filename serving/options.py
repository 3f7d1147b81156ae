"""Options that many commands take. Nothing heavy is imported before one is used."""

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
as_json = click.option("--json", "json_", is_flag=True, help="Print the result as JSON, without progress.")


def _checked(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """The path of a podium.toml that was read as a whole: a mistake in it shows before any work begins."""
    if path is not None:
        from pipeline.config import check_sections
        from serving.defaults import SECTIONS

        check_sections(path, SECTIONS)
    return path


config_file = click.option("--config", type=PATH, callback=_checked, help="A podium.toml; without it the defaults.")
