"""Merchandising rules at run time."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Body, Query, Response

from pipeline.rules import Rule, parse_rules
from serving.auth import Admin
from serving.documented import RuleBook, Rules
from serving.problems import Problem
from serving.routes.base import BODY, Desk, answers, json, router
from serving.rulebook import as_json
from serving.service import Service

ROUTES = router("rules", prefix="/v1", responses=answers(RuleBook))
_EXAMPLES = [
    {
        "rules": [
            {"id": "spring", "action": "boost", "brand": "Acme", "weight": 1.5},
            {"id": "first", "action": "pin", "query": "boots", "item_ids": ["i0000007"], "position": 0},
            {"id": "words", "action": "synonym", "terms": ["trainers"], "synonyms": ["running shoes"]},
        ]
    },
    [],
]
_RULES = Body(description="In order of precedence; none removes all", examples=_EXAMPLES)


@ROUTES.get("/rules")
async def get_rules(service: Desk, _: Admin) -> Response:
    """The rules in force."""
    rules = await service.on_engine(service.follower.rulebook.read)
    return json({"rules": as_json(rules)})


@ROUTES.put("/rules", responses=answers(RuleBook, *BODY))
async def put_rules(body: Annotated[Rules, _RULES], service: Desk, key: Admin) -> Response:
    """Replace all rules: pin, boost, bury, synonyms, per query or category. In force from the next request on."""
    rules = parse_rules(body["rules"] if isinstance(body, dict) and set(body) == {"rules"} else body)
    return await _enforce(service, rules, key.name)


@ROUTES.delete("/rules", responses=answers(RuleBook, 404))
async def delete_rules(
    service: Desk, key: Admin, rule_id: Annotated[str | None, Query(alias="id", description="only this rule")] = None
) -> Response:
    """Remove all rules, or the one named."""
    rules = await service.on_engine(service.follower.rulebook.read)
    kept = [rule for rule in rules if rule_id is not None and rule.id != rule_id]
    if rule_id is not None and len(kept) == len(rules):
        raise Problem(404, f"There is no rule {rule_id!r}.", [("id", "names no rule")])
    return await _enforce(service, kept, key.name)


async def _enforce(service: Service, rules: Sequence[Rule], who: str) -> Response:
    def enforce() -> None:
        service.engine.use_rules(rules)  # first: what the engine refuses is not kept
        service.follower.rulebook.write(rules, who)

    await service.on_engine(enforce)
    return json({"rules": as_json(rules)})
