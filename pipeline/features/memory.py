"""What follows from the catalogue or from one tick, kept until it changes."""

from pipeline.catalogue import Catalogue
from pipeline.features.content import Vectors, grown_vectors, item_vectors
from pipeline.features.facts import Facts, FactsMemory
from pipeline.features.fitted import Fitted
from pipeline.features.prices import Described, Floats, Kinds
from pipeline.features.segments import SegmentMemory
from pipeline.features.table import ItemTable
from pipeline.features.texts import Texts


class Memory:
    """Cheap to lose, never saved."""

    def __init__(self, fitted: Fitted) -> None:
        self.facts = FactsMemory()
        self.table = ItemTable(fitted.sheet)
        self._vectors: tuple[Texts, Vectors] | None = None
        self.segments = SegmentMemory()
        self._kinds: Kinds | None = None
        self._described: Described | None = None

    def vectors(self, catalogue: Catalogue, texts: Texts) -> Vectors:
        last = self._vectors
        if last is None or last[0] is not texts:
            made = item_vectors(catalogue, texts) if last is None else grown_vectors(catalogue, texts, last)
            self._vectors = last = (texts, made)
        return last[1]

    def kinds(self, facts: Facts, fitted: Fitted) -> Kinds:
        last = self._kinds
        if last is None or last.facts is not facts:
            self._kinds = last = Kinds.of(facts, fitted)
        return last

    def described(self, kinds: Kinds, price: Floats) -> Described:
        last = self._described
        if last is None or last.price is not price or last.kinds is not kinds:
            self._described = last = Described.of(kinds, price, last)
        return last
