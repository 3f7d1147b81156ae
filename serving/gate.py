"""Whether a new bundle may take the place of the one that serves, by the held-out metrics in their manifests."""

from dataclasses import dataclass
from typing import Final

from pipeline.bundle import Bundle

# Metric -> how far it may fall, as a share of the serving bundle's value. Both were measured on the latest slice of
# their own log, so a small drop is a change of the weather.
WATCHED: Final = {"gauc": 0.02, "ndcg@10": 0.02}


@dataclass(frozen=True, slots=True)
class Verdict:
    passed: bool
    reason: str


def passes(candidate: Bundle, serving: Bundle) -> Verdict:
    """The candidate passes unless a part is gone or a watched metric of the ranker falls too far."""
    if gone := sorted(set(serving.parts) - set(candidate.parts)):
        return Verdict(False, f"the serving bundle {serving.id} has {', '.join(gone)}, this one has not")
    if "ranker" not in candidate.parts or "ranker" not in serving.parts:
        return Verdict(True, "no ranker to compare")
    new, old = candidate.manifest("ranker").metrics, serving.manifest("ranker").metrics
    if lost := [name for name in WATCHED if name in old and name not in new]:
        return Verdict(False, f"{', '.join(lost)} of this bundle could not be measured: too little was held out")
    for name, allowed in WATCHED.items():
        if name in new and name in old and new[name] < old[name] * (1 - allowed):
            return Verdict(
                False, f"{name} falls from {old[name]:.4f} to {new[name]:.4f}; at most {allowed:.0%} allowed"
            )
    if not any(name in old for name in WATCHED):
        return Verdict(True, f"no held-out metric to compare: {serving.id} has none")
    return Verdict(True, f"held-out metrics hold against {serving.id}")
