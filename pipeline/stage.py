"""What a stage is: one method over a batch, and the promise it is held to."""

from enum import StrEnum
from typing import Protocol

from pipeline.batch import Batch


class Effect(StrEnum):
    """What a stage may do. The shared contract test holds each stage to it."""

    PREPARE = "writes request columns, touches no candidate"
    RECALL = "adds candidates, leaves those it was given"
    SCORE = "writes columns, keeps every candidate"
    FILTER = "drops candidates, changes nothing else"
    ORDER = "reorders and cuts, invents nothing"


class Stage(Protocol):
    """`reads` and `writes` name request columns as `request.query`, candidate columns as `score`."""

    @property
    def name(self) -> str: ...
    @property
    def effect(self) -> Effect: ...
    @property
    def reads(self) -> frozenset[str]: ...
    @property
    def writes(self) -> frozenset[str]: ...
    def run(self, batch: Batch) -> Batch: ...
