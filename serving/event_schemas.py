"""The events in the OpenAPI document: their schemas, made from the structs that read them."""

from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pipeline.logs.wire import KINDS

_GIVEN: Final = ("event_id", "time")  # what the service gives to an event that leaves it out
_REF: Final = "#/components/schemas/{name}"


def _posted(struct: type[Struct], kind: str) -> type[Struct]:
    """The event as it is posted: free-form objects are objects, and what is given may be left out."""
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(struct):
        if field.type is msgspec.Raw:
            fields.append((field.name, dict[str, Any], msgspec.field(default_factory=dict)))
        elif field.name in _GIVEN:
            fields.append((field.name, field.type | UnsetType, UNSET))
        else:
            fields.append((field.name, field.type) if field.required else (field.name, field.type, field.default))
    name = f"{struct.__name__}Event"
    return msgspec.defstruct(name, fields, tag_field="type", tag=kind, kw_only=True, forbid_unknown_fields=True)


_POSTED: Final = {kind: _posted(struct, kind) for struct, kind in KINDS.items()}
EVENT: Final = {
    "oneOf": [{"$ref": _REF.format(name=struct.__name__)} for struct in _POSTED.values()],
    "discriminator": {
        "propertyName": "type",
        "mapping": {kind: _REF.format(name=struct.__name__) for kind, struct in _POSTED.items()},
    },
}


def event_schemas() -> dict[str, Any]:
    """The components that EVENT refers to, and those that these refer to."""
    return msgspec.json.schema_components(tuple(_POSTED.values()), ref_template=_REF)[1]
