"""What every other part is built for: the catalogue, and the state of all the log tells.

Both are made without holding the log in memory. A state that was built of the log's first days grows by the others.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import polars as pl

from pipeline.artifacts import open_artifact, read_manifest, write_json
from pipeline.build import Earlier, build_state, misfit
from pipeline.catalogue import Catalogue, CatalogueConfig, build_catalogue
from pipeline.config import load_section
from pipeline.counting import READ
from pipeline.errors import ArtifactError
from pipeline.features.config import FeaturesConfig
from pipeline.features.declared import as_told, wanted
from pipeline.features.fitted import fit_features
from pipeline.logs.attribution import AttributionConfig
from pipeline.logs.config import LogsConfig
from pipeline.logs.read import Log
from pipeline.state import State
from pipeline.trained import write_trained
from serving.workshop import Workshop

_LEARNED_FROM = ("item", "impression", "feedback")
_LEARNED = "learned.json"  # what a state was built of
_SHOWN = 12  # users


def learn(shop: Workshop, log: Log, config: Path | None) -> tuple[State, Mapping[str, str], int]:
    """Returns the state, the digests of catalogue and features, and the first moment nothing was learned from, ms.

    The report on the features says whether the state was grown (`incremental`: 1) or built from the whole log (0).
    """
    events = log.everything()
    days = events.day_digests()
    digest = {"log": sha256(json.dumps([days, log.clock], sort_keys=True).encode()).hexdigest()}

    items = load_section(config, "catalogue", CatalogueConfig)

    def write_catalogue(folder: Path) -> Mapping[str, float]:
        catalogue = build_catalogue(events.frame("item"), _mentioned(events))
        catalogue.save(folder)
        return {"items": float(len(catalogue) - 1), **{name: float(n) for name, n in catalogue.census().items()}}

    made = shop.make("catalogue", items.model_dump(), digest, write_catalogue, 0.0)
    assert made is not None
    catalogue = Catalogue.open(shop.parts["catalogue"]).ignoring(items.unknown)
    rules = load_section(config, "logs", LogsConfig)
    declared = load_section(config, "features", FeaturesConfig).declared
    kinds = (*READ, *(("user",) if wanted(declared).users else ()))
    counted = {name: day for name, day in days.items() if name.partition("/")[0] in kinds}
    cutoff = _cutoff(events)
    grown: list[Earlier] = []

    def fits(found: Earlier) -> bool:
        return misfit(found, catalogue, rules.gains, declared=declared) is None

    def write_features(folder: Path) -> Mapping[str, float]:
        earlier = _earlier(shop, events, kinds, fits)
        if earlier is not None:
            grown.append(earlier)
        state = build_state(events, catalogue, rules.gains, folder, declared=declared, earlier=earlier)
        fit_features(state).save(folder)
        write_json(folder / "users.json", _active_users(events))
        write_trained(events, folder)
        write_json(folder / _LEARNED, {"code": shop.code, "cutoff": cutoff, "days": counted})
        return {"events": float(sum(_rows(events, kind) for kind in _LEARNED_FROM))}

    inputs = {**digest, "catalogue": made.digest}
    asked = {**rules.model_dump(include=set(AttributionConfig.model_fields)), "declared": as_told(declared)}
    features = shop.make("features", asked, inputs, write_features, 0.1)
    assert features is not None
    report = shop.steps[-1]
    if not report.reused:
        # Said of this run, not of the artifact: that is the same whichever way it was made.
        shop.steps[-1] = replace(report, metrics={**report.metrics, "incremental": float(bool(grown))})
    state = State.open(shop.parts["features"], catalogue)
    return state, {"catalogue": made.digest, "features": features.digest}, cutoff


def _earlier(shop: Workshop, log: Log, kinds: tuple[str, ...], fits: Callable[[Earlier], bool]) -> Earlier | None:
    """The latest state under the same root that knows what the log told up to a moment, and nothing else."""
    known = []
    for path in (shop.root / "artifacts").glob(f"features-*/{_LEARNED}"):
        about = json.loads(path.read_bytes())
        if about["code"] == shop.code and about["days"] and about["cutoff"] <= (log.before or about["cutoff"]):
            known.append((about["cutoff"], path.parent, about["days"]))
    for since, folder, days in sorted(known, key=lambda found: found[:2], reverse=True):
        if replace(log, before=since).day_digests(kinds) != days:
            continue
        try:
            catalogue = _catalogue(shop, open_artifact(folder, "features").inputs["catalogue"])
            earlier = Earlier(State.open(folder, catalogue), folder, since)
        except (ArtifactError, KeyError):  # damaged or of another time: the next one, or the whole log
            continue
        if fits(earlier):
            return earlier
    return None


def _catalogue(shop: Workshop, digest: str) -> Catalogue:
    for folder in (shop.root / "artifacts").glob("catalogue-*"):
        if read_manifest(folder).digest == digest:
            open_artifact(folder, "catalogue")
            return Catalogue.open(folder)
    raise ArtifactError("catalogue", f"one of digest {digest}", place=str(shop.root))


def _mentioned(events: Log) -> pl.Series:
    """Every item the log names, once."""
    items = pl.col("items").list.eval(pl.element().struct["item_id"])
    shown = events.scan("impression").select(item_id=items).explode("item_id")
    named = [events.scan(kind).select("item_id") for kind in ("feedback", "judgment")]
    found = pl.concat([shown, *named]).drop_nulls().unique().collect(engine="streaming")
    return found["item_id"]


def _rows(events: Log, kind: str) -> int:
    return int(events.scan(kind).select(pl.len()).collect().item())


def _cutoff(events: Log) -> int:
    """The first moment nothing was learned from, ms."""
    latest = pl.max_horizontal("time", "received").max()
    known = [events.scan(kind).select(latest).collect(engine="streaming").item() for kind in _LEARNED_FROM]
    return max((int(end) for end in known if end is not None), default=-1) + 1


def _active_users(events: Log) -> list[str]:
    """A few users with a history, to show what personalisation does."""
    counted = events.scan("feedback").drop_nulls("user_id").group_by("user_id").len()
    found = counted.sort("len", "user_id", descending=[True, False]).head(_SHOWN).collect(engine="streaming")
    return found["user_id"].to_list()
