"""JSON Schemas in one normal form: all drafts read alike, references followed, what judges nothing left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import unquote, urljoin

from activation_dagster.domain.compatibility.json_values import ATOMS, atom_of, key_of, may_match, text_of
from activation_dagster.domain.compatibility.keywords import (
    ASSERTING,
    COMBINERS,
    IDLE_ITEMS,
    JUDGES,
    NOTHING_ASSERTED,
    TYPE_OF,
    is_sound,
)
from activation_dagster.errors import WrongUse

Body = dict[str, Any]
"""The keywords of a schema that assert something, in normal form; schemas inside it are as they were written."""

_OLD_DRAFT = re.compile(r"draft-0[34567]")
_SUMS = ("anyOf", "oneOf")
Formats = Mapping[str, Callable[[str], bool]]


class Document:
    """One schema file: its root, and every schema inside it in normal form, made once.

    `formats` are the formats that are asserted and how; those of plain JSON Schema are annotations for most validators,
    so no example is built upon them.
    """

    def __init__(self, content: Any, *, name: str = "", formats: Formats | None = None) -> None:
        self.content = content
        self.name = name
        self.formats: Formats = formats or {}
        stated = cast("dict[str, Any]", content).get("$schema", "") if isinstance(content, dict) else ""
        self.is_old_draft = _OLD_DRAFT.search(str(stated)) is not None
        self.is_new_draft = bool(stated) and not self.is_old_draft
        self._made: dict[int, Schema] = {}
        self._members: dict[int, dict[str, Schema]] = {}
        self._kept: list[Any] = []  # what ids were taken of must live as long as the ids are used
        self._anchors: dict[str, Any] | None = None

    @property
    def root(self) -> Schema:
        return self.schema(self.content)

    def schema(self, raw: Any) -> Schema:
        """The schema that a part of the document is. Raises WrongUse where it is none, or refers to nowhere."""
        found = self._made.get(id(raw))
        if found is None:
            found = Schema(self, raw, self._normal(raw, ()))
            self._kept.append(raw)
            self._made[id(raw)] = found
        return found

    def members(self, properties: dict[str, Any]) -> dict[str, Schema]:
        """The schemas under one `properties`, made once for all the schemas that share it."""
        found = self._members.get(id(properties))
        if found is None:
            self._kept.append(properties)
            found = self._members[id(properties)] = {key: self.schema(raw) for key, raw in properties.items()}
        return found

    def keep(self, body: Body) -> Body:
        """A body that is in normal form already, so that it is taken as it is wherever it stands."""
        if id(body) not in self._made:
            self._kept.append(body)
            self._made[id(body)] = Schema(self, body, body)
        return body

    def _fault(self, what: str, advice: str) -> WrongUse:
        return WrongUse(f"The schema in {self.name or 'this document'} {what}. {advice}")

    def _normal(self, raw: Any, seen: tuple[str, ...]) -> Body:
        if raw is True or raw is False:
            return {} if raw else {"not": {}}
        if not isinstance(raw, dict):
            raise self._fault(f"holds {text_of(raw)[:40]} where a schema belongs", "Write an object, true or false.")
        raw = cast("dict[str, Any]", raw)
        reference = raw.get("$ref", raw.get("$dynamicRef", raw.get("$recursiveRef")))
        if isinstance(reference, str):
            if reference in seen:
                raise self._fault(f"refers to itself without end ('{reference}')", "Break the circle.")
            target = self._normal(self.target(reference), (*seen, reference))
            beside = {} if self.is_old_draft else self._cleaned(raw)
            if beside and target:
                return {"allOf": [self.keep(target), self.keep(beside)]}
            return beside or target
        return self._cleaned(raw)

    def _checked(self, raw: dict[str, Any]) -> None:
        """Raises WrongUse for a keyword whose value is of another kind than JSON Schema gives it."""
        for keyword, value in raw.items():
            if not is_sound(keyword, value):
                raise self._fault(
                    f"holds {keyword}: {text_of(value)[:40]}, which JSON Schema does not know", "Mend it."
                )

    def _cleaned(self, raw: dict[str, Any]) -> Body:
        self._checked(raw)
        body = {key: value for key, value in raw.items() if key in ASSERTING}
        if isinstance(body.get("type"), str):
            body["type"] = [body["type"]]
        if "const" in raw:
            value = raw["const"]
            is_among = "enum" not in body or key_of(value) in map(key_of, body["enum"])
            body["enum"] = [value] if is_among else []
        for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if body.get(bound) is True and limit in body:
                body[bound] = body.pop(limit)
            elif isinstance(body.get(bound), bool):
                del body[bound]
        needs, schemas = dict(body.get("dependentRequired", {})), dict(body.get("dependentSchemas", {}))
        for key, value in dict({} if self.is_new_draft else raw.get("dependencies", {})).items():
            (needs if isinstance(value, list) else schemas)[key] = value
        body |= {"dependentRequired": needs, "dependentSchemas": schemas}
        if isinstance(body.get("items"), list):
            body["prefixItems"] = body["items"]
            body["items"] = raw.get("additionalItems", True)
        elif "additionalItems" in raw:
            body[IDLE_ITEMS] = raw["additionalItems"]
        if "contains" not in body:
            body.pop("minContains", None)
            body.pop("maxContains", None)
        if "if" not in body:
            body.pop("then", None)
            body.pop("else", None)
        elif "then" not in body and "else" not in body:
            del body["if"]
        combined = any(name in raw for name in (*COMBINERS, "$ref"))
        if "unevaluatedProperties" in body and not combined:
            body.setdefault("additionalProperties", body["unevaluatedProperties"])
            del body["unevaluatedProperties"]
        if "unevaluatedItems" in body and not combined and "contains" not in body:
            body.setdefault("items", body["unevaluatedItems"])
            del body["unevaluatedItems"]
        for key, idle in NOTHING_ASSERTED.items():
            if key in body and any(body[key] == value and type(body[key]) is type(value) for value in idle):
                del body[key]
        return body

    def target(self, reference: str) -> Any:
        """What a local reference names. Raises WrongUse for one that leads out of the file, or nowhere."""
        base, _, fragment = reference.partition("#")
        if base and base not in self._names():
            base = urljoin(self._root_id(), base)
        if base and base not in self._names():
            raise self._fault(
                f"refers to '{reference}', which is not in this file", "Put it under $defs and refer to it there."
            )
        found: Any = self._names()[base] if base else self.content
        if fragment and not fragment.startswith("/"):
            if fragment not in self._names():
                raise self._fault(f"refers to '{reference}', which no $anchor names", "Correct the reference.")
            return self._names()[fragment]
        for step in unquote(fragment).split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = cast("dict[str, Any]", found)[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(cast("list[Any]", found)):
                found = cast("list[Any]", found)[int(key)]
            else:
                raise self._fault(f"refers to '{reference}', which is not there", "Correct the reference.")
        return found

    def _root_id(self) -> str:
        content = self.content
        return str(cast("dict[str, Any]", content).get("$id", "")) if isinstance(content, dict) else ""

    def _names(self) -> dict[str, Any]:
        """Everything in the file that an `$id` or `$anchor` names."""
        if self._anchors is None:
            self._anchors = {}
            waiting: list[Any] = [self.content]
            while waiting:
                value = waiting.pop()
                if isinstance(value, dict):
                    held = cast("dict[str, Any]", value)
                    for key in ("$id", "id", "$anchor", "$dynamicAnchor"):
                        if isinstance(held.get(key), str):
                            name = held[key].removeprefix("#").rstrip("#")
                            self._anchors.setdefault(name, held)
                            if key == "$id":
                                self._anchors.setdefault(urljoin(self._root_id(), name), held)
                    waiting.extend(held.values())
                elif isinstance(value, list):
                    waiting.extend(cast("list[Any]", value))
        return self._anchors


class Schema:
    """One schema of a document in normal form. Equal schemas need not be the same object."""

    __slots__ = ("_atoms", "_members", "_needed", "body", "document", "judged", "least", "raw", "sampled")

    def __init__(self, document: Document, raw: Any, body: Body) -> None:
        self.document = document
        self.raw = raw
        self.body = body
        self._atoms: frozenset[str] | None = None
        self._members: dict[str, Schema] | None = None
        self._needed: frozenset[str] | None = None
        # Answers that are asked for again and again; a value is kept beside its own so that its id stays its own.
        self.judged: dict[int, tuple[Any, bool]] = {}
        self.sampled: tuple[Any, ...] | None = None
        self.least: dict[str, Any] | None = None

    @property
    def written(self) -> dict[str, Any]:
        """It as it was written, with what judges nothing; empty for true, false and what was never written."""
        raw = self.raw
        return cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}

    def get(self, keyword: str, default: Any = None) -> Any:
        return self.body.get(keyword, default)

    def of(self, raw: Any) -> Schema:
        """Another schema of the same document."""
        return self.document.schema(raw)

    def keyword(self, keyword: str) -> Schema:
        """The schema that stands under a keyword; the one that accepts everything where there is none."""
        return self.of(self.body[keyword]) if keyword in self.body else self.of(True)

    def schemas(self, keyword: str) -> list[Schema]:
        """The schemas of a list under a keyword."""
        return [self.of(raw) for raw in self.body.get(keyword, [])]

    def without(self, *keywords: str) -> Schema:
        """The same schema without some keywords."""
        return self.only(*(key for key in self.body if key not in keywords))

    def only(self, *keywords: str) -> Schema:
        """The same schema with nothing but some keywords."""
        return Schema(self.document, self.raw, {key: self.body[key] for key in keywords if key in self.body})

    @property
    def is_true(self) -> bool:
        """Whether it visibly accepts everything."""
        return not self.body

    @property
    def is_false(self) -> bool:
        """Whether it visibly accepts nothing."""
        return self.get("enum", [0]) == [] or ("not" in self.body and self.keyword("not").is_true) or not self.atoms

    @property
    def declared_atoms(self) -> frozenset[str]:
        """The types that its own `type` allows."""
        if "type" not in self.body:
            return ATOMS
        found: set[str] = set()
        for name in self.body["type"]:
            found |= {"integer", "fraction"} if name == "number" else {name} & ATOMS
        return frozenset(found)

    @property
    def atoms(self) -> frozenset[str]:
        """The types of all values that it can accept, as far as its keywords and branches tell; never too few."""
        if self._atoms is None:
            self._atoms = ATOMS  # what a circle of references sees
            found = self.declared_atoms
            if "enum" in self.body:
                found &= frozenset(map(atom_of, self.body["enum"]))
            for branch in self.schemas("allOf"):
                found &= branch.atoms
            for keyword in _SUMS:
                if keyword in self.body:
                    found &= frozenset(atom for branch in self.schemas(keyword) for atom in branch.atoms)
            # What two branches take whatever it says satisfies both, and so no oneOf.
            free = [branch.unjudged_atoms for branch in self.schemas("oneOf")]
            found -= {atom for atom in ATOMS if sum(atom in atoms for atoms in free) > 1}
            self._atoms = found
        return self._atoms

    @property
    def unjudged_atoms(self) -> frozenset[str]:
        """The types of which it accepts every value."""
        if any(keyword in self.body for keyword in (*COMBINERS, "enum")):
            return frozenset()
        return self.declared_atoms - {atom for keyword in self.body for atom in JUDGES.get(keyword, ())}

    # -- objects --------------------------------------------------------------------------------------------------

    @property
    def properties(self) -> dict[str, Any]:
        return self.body.get("properties", {})

    @property
    def members(self) -> dict[str, Schema]:
        """The schemas of the keys that `properties` names."""
        if self._members is None:
            self._members = self.document.members(self.properties)
        return self._members

    @property
    def required(self) -> list[str]:
        return self.body.get("required", [])

    @property
    def needed(self) -> frozenset[str]:
        """The same, to look keys up in."""
        if self._needed is None:
            self._needed = frozenset(self.required)
        return self._needed

    def undeclared(self, key: str) -> Schema:
        """What a key must satisfy that `properties` does not name."""
        patterns = [
            self.of(raw) for pattern, raw in self.get("patternProperties", {}).items() if may_match(pattern, key)
        ]
        return conjunction(self.document, patterns) if patterns else self.keyword("additionalProperties")

    def of_key(self, key: str) -> Schema:
        """All that the value of a key must satisfy."""
        if key not in self.properties:
            return self.undeclared(key)
        if "patternProperties" not in self.body:
            return self.of(self.properties[key])
        patterns = [
            self.of(raw) for pattern, raw in self.get("patternProperties", {}).items() if may_match(pattern, key)
        ]
        return conjunction(self.document, [self.of(self.properties[key]), *patterns])

    # -- arrays ---------------------------------------------------------------------------------------------------

    def of_item(self, place: int) -> Schema:
        """What the item at a place must satisfy."""
        first = self.get("prefixItems", [])
        return self.of(first[place]) if place < len(first) else self.keyword("items")

    # -- alternatives ---------------------------------------------------------------------------------------------

    def alternatives(self) -> list[Schema]:
        """Schemas of which every accepted value satisfies at least one; only itself when it offers no choice."""
        for keyword in _SUMS:
            if keyword in self.body:
                rest, atoms = self.without(keyword), self.atoms
                own = Schema(self.document, None, {"type": sorted({TYPE_OF.get(atom, atom) for atom in atoms})})
                return [
                    conjunction(self.document, [rest, branch] if branch.atoms <= atoms else [own, rest, branch])
                    for branch in self.schemas(keyword)
                ]
        if len(self.get("type", [])) > 1:
            return [Schema(self.document, self.raw, self.body | {"type": [name]}) for name in self.body["type"]]
        return [self]

    def __repr__(self) -> str:
        return text_of(self.body)


_OBJECT_MODEL = ("patternProperties", "additionalProperties", "unevaluatedProperties")
_KEYS_ALONE = frozenset({"properties"})
_LINKED = (
    frozenset({"properties", *_OBJECT_MODEL}),
    frozenset({"prefixItems", "items", "unevaluatedItems"}),
    frozenset({"contains", "minContains", "maxContains", "unevaluatedItems"}),
    frozenset({"if", "then", "else"}),
    frozenset({"unevaluatedProperties", "unevaluatedItems", *COMBINERS}),
)
"""Keywords that speak about one another: two schemas that share such a group cannot be written as one."""


def conjunction(document: Document, parts: list[Schema]) -> Schema:
    """A schema that accepts what all parts accept; flat where that can be said in one."""
    kept = [part for part in parts if part.body]
    if len(kept) == 1:
        return kept[0]
    body: Body = {}
    for part in kept:
        if not _joins(body, part.body):
            return Schema(document, None, {"allOf": [document.keep(part.body) for part in kept]})
        for key, value in part.body.items():
            if key == "required":
                body[key] = list(dict.fromkeys([*body.get(key, []), *value]))
            elif key == "properties":
                body[key] = {**body.get(key, {}), **value}
            else:
                body[key] = value
    return Schema(document, None, body)


def _joins(one: Body, other: Body) -> bool:
    shared = one.keys() & other.keys()
    if shared - {"required", "properties"}:
        return False
    if "properties" in shared and (
        one["properties"].keys() & other["properties"].keys()
        or any(key in one or key in other for key in _OBJECT_MODEL)
    ):
        return False
    return all(not (group & one.keys() and group & other.keys()) or group & shared == _KEYS_ALONE for group in _LINKED)
