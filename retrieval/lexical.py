"""Full-text search over the catalogue: BM25 in a tantivy index. The only home of tantivy.

The index holds the items as they were when it was built; those that came or changed since are searched beside it
(`retrieval.live`). Whether an item may be shown is decided by the request's mask, which is always up to date.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import numpy as np
import tantivy
from numpy.typing import NDArray

from pipeline.batch import Mask
from pipeline.catalogue import Catalogue
from pipeline.errors import ArtifactError
from pipeline.filters import Filters
from retrieval.documents import FIELDS, documents, required
from retrieval.live import LiveItems, Statistics

Hits = tuple[NDArray[np.int32], NDArray[np.float32]]

_STATISTICS = "statistics.json"
_MEMORY = 1_000_000_000  # bytes one segment may grow to; taken only as far as needed
_FEW = 200  # allowed items up to which the index is asked for exactly these
_SELECTIVE = 0.25  # share of allowed items below which the index applies the filters itself
_WIDEN = 4


class _Latest:
    """Remembers the live items of the last catalogue; a catalogue never changes, so its identity is enough."""

    def __init__(self) -> None:
        self.of: tuple[Catalogue, LiveItems] | None = None


@dataclass(frozen=True, slots=True)
class LexicalIndex:
    """An opened index. items: how many it holds, the dense ids 0..items-1; boosts: one for each of FIELDS."""

    index: Any
    searcher: Any
    items: int
    boosts: tuple[float, ...]
    averages: tuple[float, ...]
    _latest: _Latest = field(default_factory=_Latest, repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path) -> "LexicalIndex":
        """Raises ArtifactError when the folder holds no index that `build_index` wrote."""
        try:
            about = json.loads((folder / _STATISTICS).read_text(encoding="utf-8"))
            index = _opened(folder)
            return cls(index, index.searcher(), int(about["items"]), tuple(about["boosts"]), tuple(about["averages"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(_STATISTICS, f"a readable lexical index ({error})", place=str(folder)) from error

    @property
    def statistics(self) -> Statistics:
        return Statistics(self.items, self.averages, self.searcher.doc_freq)

    def live(self, catalogue: Catalogue) -> LiveItems:
        """The items of the catalogue that the index does not hold, or holds with other words."""
        latest = self._latest.of
        if latest is None:
            latest = self._latest.of = (catalogue, LiveItems.of(catalogue, self.items))
        elif latest[0] is not catalogue:
            latest = self._latest.of = (catalogue, latest[1].grown(catalogue, self.items))
        return latest[1]

    def find(self, terms: Sequence[str], filters: Filters, limit: int, allowed: Mask, catalogue: Catalogue) -> Hits:
        """As `search`, of all items as they are described now; not in order, and up to `limit` of the index beside
        every live one."""
        live = self.live(catalogue)
        item, score = self.search(terms, filters, limit, live.held(allowed))
        if not len(live.owner):
            return item, score
        late, own = live.search(terms, self.boosts, allowed, self.statistics)
        return np.concatenate([item, late]), np.concatenate([score, own])

    def search(self, terms: Sequence[str], filters: Filters, limit: int, allowed: Mask) -> Hits:
        """The best allowed items of the index that hold at least one term: item and score, `[<= limit]` each.

        allowed: `[N]` by dense id. Few allowed items are asked for by name, a small share by the labels the filters
        need; otherwise more is asked for, again as long as the mask leaves fewer than `limit`.
        """
        own = allowed[: self.items]
        count = int(np.count_nonzero(own))
        if not terms or not count:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        if count <= _FEW:
            groups = [("key", [str(item) for item in np.flatnonzero(own).tolist()])]
        else:
            labels = required(filters) if count < _SELECTIVE * self.items else []
            groups = [("label", values) for values in labels]
        asked = limit if groups else limit * self.items // count + 1
        query = self._query(terms, groups)
        while True:
            hits = self.searcher.search(query, min(asked, self.items), count=False).hits
            values = self.searcher.fast_field_values("item", [address for _, address in hits])
            item = np.array(values, dtype=np.int32)
            place = np.flatnonzero(allowed[item])[:limit]
            if len(place) == limit or len(hits) < asked:
                return item[place], np.array([score for score, _ in hits], dtype=np.float32)[place]
            asked *= _WIDEN

    def _query(self, terms: Sequence[str], groups: list[tuple[str, list[str]]]) -> Any:
        schema, query = self.index.schema, tantivy.Query
        words = [
            (tantivy.Occur.Should, query.boost_query(query.term_query(schema, name, term, "freq"), boost))
            for name, boost in zip(FIELDS, self.boosts, strict=True)
            for term in terms
            if boost > 0
        ]
        parts = [(tantivy.Occur.Must, query.boolean_query(words))]
        for name, values in groups:
            one_of = query.term_set_query(schema, name, values)
            parts.append((tantivy.Occur.Must, query.const_score_query(one_of, 0.0)))
        return query.boolean_query(parts) if groups else parts[0][1]


def _opened(folder: Path) -> Any:
    """An index opened without a trace. tantivy locks a file beside an index before it maps the index into memory, so it
    is shown a folder of links, which it does not need any more once everything is mapped."""
    with TemporaryDirectory(prefix="podium-index-") as links:
        for path in folder.resolve().iterdir():
            if path.suffix != ".lock":
                Path(links, path.name).symlink_to(path)
        index = tantivy.Index.open(links)
        index.config_reader("manual")  # what is published never changes: there is nothing to reload
    return index


def build_index(catalogue: Catalogue, boosts: tuple[float, ...], folder: Path) -> int:
    """Write the index of the whole catalogue into `folder`; returns how many words it holds.

    One thread adds the items in order, so that equal scores come in order of dense id.
    """
    index = tantivy.Index(_schema(), str(folder))
    writer = index.writer(heap_size=_MEMORY, num_threads=1)
    total = np.zeros(len(FIELDS), dtype=np.int64)
    for item, (words, labels) in enumerate(documents(catalogue.rows)):
        document = tantivy.Document()
        document.add_unsigned("item", item)
        document.add_text("key", str(item))
        for name, own in zip(FIELDS, words, strict=True):
            document.add_text(name, " ".join(own))
        for label in labels:
            document.add_text("label", label)
        total += [len(own) for own in words]
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    _settle(folder)
    averages = (total / max(len(catalogue), 1)).tolist()
    about = {"items": len(catalogue), "boosts": boosts, "averages": averages}
    (folder / _STATISTICS).write_text(json.dumps(about), encoding="utf-8")
    return int(total.sum())


def _settle(folder: Path) -> None:
    """Make the folder a function of its content: tantivy names segments at random, an artifact has a digest."""
    for lock in folder.glob(".*.lock"):
        lock.unlink()
    meta, managed = ((folder / name).read_text(encoding="utf-8") for name in ("meta.json", ".managed.json"))
    for number, segment in enumerate(json.loads(meta)["segments"]):
        old, new = UUID(segment["segment_id"]), UUID(int=number)
        for path in folder.glob(f"{old.hex}.*"):
            path.rename(path.with_name(path.name.replace(old.hex, new.hex)))
        meta, managed = meta.replace(str(old), str(new)), managed.replace(old.hex, new.hex)
    (folder / "meta.json").write_text(meta, encoding="utf-8")
    (folder / ".managed.json").write_text(json.dumps(sorted(json.loads(managed))), encoding="utf-8")


def _schema() -> Any:
    schema = tantivy.SchemaBuilder()
    for name in FIELDS:
        schema.add_text_field(name, tokenizer_name="whitespace", index_option="freq")
    for name in ("label", "key"):
        schema.add_text_field(name, tokenizer_name="raw", index_option="basic")
    schema.add_unsigned_field("item", fast=True)
    return schema.build()
