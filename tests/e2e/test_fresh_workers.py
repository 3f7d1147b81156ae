"""Two processes over one root: what one is told, the other knows; what one forgets, the other does not remember."""

import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import service
from tests.shop import Shop
from tests.waiting import soon


def event(name: str, **fields: object) -> dict[str, object]:
    return {"event_id": name, "time": time.time_ns() // 1_000_000, **fields}


@pytest.mark.full
def test_what_one_process_is_told_the_other_knows(tiny_shop: Shop, tmp_path: Path) -> None:
    bundle, root = str(tiny_shop.bundles), str(tmp_path / "root")
    one_url, two_url = (service("--bundle", bundle, "--root", root) for _ in range(2))
    with one_url as here, two_url as there, httpx.Client(base_url=here) as one, httpx.Client(base_url=there) as two:

        def found(query: str) -> list[str]:
            items = two.post("/v1/search", json={"query": query}).json()["items"]
            return [item["item_id"] for item in items]

        item = {"type": "item", "item_id": "newcomer", "title": "quuxel tray"}
        one.post("/v1/events", json=event("e1", **item)).raise_for_status()
        soon(lambda: found("quuxel") == ["newcomer"])
        one.post("/v1/events", json=event("e2", **item, available=False)).raise_for_status()
        soon(lambda: "newcomer" not in found("quuxel"))

        home = {"surface": "home", "user_id": "ann"}
        seen = two.post("/v1/recommend", json=home).json()["items"][0]["item_id"]
        hide = event("e3", type="feedback", user_id="ann", item_id=seen, action="hide")
        one.post("/v1/events", json=hide).raise_for_status()

        def first() -> str:
            shown: str = two.post("/v1/recommend", json=home).json()["items"][0]["item_id"]
            return shown

        soon(lambda: first() != seen)
        one.delete("/v1/users/ann").raise_for_status()
        soon(lambda: first() == seen)
