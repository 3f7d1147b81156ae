"""How common words are, as training found it."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from pipeline.features.texts import Field, Hashes, Texts

Counts = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TextStats:
    """How common words are, frozen in a bundle. hashes: `[V]` sorted; documents_with: `[V, 2]` for title and text;
    mean_length: `[2]` tokens."""

    documents: int
    hashes: Hashes
    documents_with: NDArray[np.int32]
    mean_length: tuple[float, float]

    @classmethod
    def of(cls, texts: Texts) -> "TextStats":
        """Counted over every item of the catalogue that has a word at all."""
        fields = (texts.title, texts.text)
        documents = int(np.count_nonzero(texts.title.length + texts.text.length))
        found = [_distinct(field) for field in fields]
        hashes = np.unique(np.concatenate(found))
        counts = np.stack([np.bincount(np.searchsorted(hashes, part), minlength=len(hashes)) for part in found], axis=1)
        means = [float(field.length.sum()) / max(documents, 1) for field in fields]
        return cls(documents, hashes, counts.astype(np.int32), (means[0], means[1]))

    def idf(self, hashes: Hashes) -> Counts:
        """`[..., 2]`: of each term in titles and in texts; an unknown term is the rarest."""
        place = np.minimum(np.searchsorted(self.hashes, hashes), max(len(self.hashes) - 1, 0))
        have = np.zeros((*np.shape(hashes), 2))
        if len(self.hashes):
            have = np.where((self.hashes[place] == hashes)[..., None], self.documents_with[place], 0)
        return np.asarray(np.log1p((self.documents - have + 0.5) / (have + 0.5)))

    def save(self, folder: Path) -> None:
        np.save(folder / "text.hashes.npy", self.hashes, allow_pickle=False)
        np.save(folder / "text.documents.npy", self.documents_with, allow_pickle=False)
        about = {"documents": self.documents, "mean_length": self.mean_length}
        (folder / "text.json").write_bytes(msgspec.json.encode(about))

    @classmethod
    def open(cls, folder: Path) -> "TextStats":
        """Raises ArtifactError when the files are not what `save` wrote."""
        try:
            about = msgspec.json.decode((folder / "text.json").read_bytes())
            hashes = np.load(folder / "text.hashes.npy", allow_pickle=False)
            counts = np.load(folder / "text.documents.npy", allow_pickle=False)
            title, text = (float(value) for value in about["mean_length"])
            stats = cls(int(about["documents"]), hashes, counts, (title, text))
        except (OSError, ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
            raise ArtifactError("text.json", f"readable text statistics ({error})", place=str(folder)) from error
        if hashes.ndim != 1 or counts.shape != (len(hashes), 2):
            raise ArtifactError("text.documents.npy", "two counts for each hash", place=str(folder))
        return stats


def _distinct(part: Field) -> Hashes:
    """Each token once an item that has it."""
    words, owner = part.flat(np.arange(len(part.start), dtype=np.int32))
    both = np.unique((owner.astype(np.int64) << 32) | words)
    return (both & 0xFFFFFFFF).astype(np.int32)
