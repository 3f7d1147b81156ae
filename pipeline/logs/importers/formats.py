"""All formats, in the order in which they are asked whether a source is theirs."""

from typing import Final

from pipeline.errors import InputError
from pipeline.logs.importers.base import Importer, Sources
from pipeline.logs.importers.gorse import GORSE
from pipeline.logs.importers.judged import JUDGED
from pipeline.logs.importers.mapped import CSV
from pipeline.logs.importers.metarank import METARANK
from pipeline.logs.importers.mind import MIND
from pipeline.logs.importers.movielens import MOVIELENS
from pipeline.logs.importers.openbandit import OPENBANDIT
from pipeline.logs.importers.podium import PODIUM
from pipeline.logs.importers.query_counts import QUERY_COUNTS
from pipeline.logs.importers.sequences import SEQUENCES
from pipeline.logs.importers.taobao import TAOBAO
from pipeline.logs.importers.ubi import UBI

_ALL = (MOVIELENS, SEQUENCES, MIND, JUDGED, TAOBAO, OPENBANDIT, QUERY_COUNTS, METARANK, UBI, GORSE, PODIUM, CSV)
FORMATS: Final[dict[str, Importer]] = {importer.name: importer for importer in _ALL}


def choose(fmt: str | None, sources: Sources) -> Importer:
    """The importer named, or the first that recognises the sources.

    Raises InputError for an unknown name and for sources that are not what the format looks for.
    """
    place = ", ".join(map(str, sources))
    if not sources:
        raise InputError("source", "at least one file or folder")
    if fmt is not None and fmt not in FORMATS:
        raise InputError("format", f"one of {', '.join(FORMATS)}", received=fmt)
    candidates = [FORMATS[fmt]] if fmt else [one for one in _ALL if one is not CSV]  # CSV is anything: ask for it
    for importer in candidates:
        if importer.recognises(sources):
            return importer
    if fmt is not None:
        raise InputError("source", f"files of a known format ({fmt}: {FORMATS[fmt].looks_for})", place=place)
    named = ", ".join(importer.name for importer in candidates)
    fix = f"files of a known format; name the one they should be, and it tells what it looks for: {named}, csv"
    raise InputError("source", fix, place=place)
