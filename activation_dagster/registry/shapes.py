"""The shape of each contract file, as written by people; anything not named here is a mistake."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from activation_dagster.domain.compatibility.changes import Mode
from activation_dagster.domain.contracts import (
    Call,
    Criticality,
    LateData,
    LifecycleState,
    PropertyType,
    Undeclared,
)
from activation_dagster.domain.formats import Format
from activation_dagster.domain.shedding import Sheddable

NAME = r"^[a-z][a-z0-9_]{0,78}$"


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | bool | int | float):
        raise PydanticCustomError("scalar", "is no text, no number and neither true nor false; write one of these.")
    return value


Scalar = Annotated[str | bool | int | float, BeforeValidator(_scalar)]


class Shape(BaseModel):
    """No key beyond those declared, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class OwnerFile(Shape):
    class Owner(Shape):
        name: str
        contact: str

    owners: dict[str, Owner]


class VersionLifecycle(Shape):
    lifecycle: LifecycleState = Field(strict=False)
    deprecated_until: date | None = Field(default=None, strict=False)


class EventFile(Shape):
    """`events/<event>/contract.yaml`: what may change."""

    owner: str
    criticality: Criticality = Field(strict=False)
    call: Call = Field(default=Call.TRACK, strict=False)
    description: str
    consumers: list[str] = []
    environments: list[str] = []
    sources: list[str] = []
    pinned: dict[str, str] = {}
    late_data: LateData = Field(default=LateData.ACCEPT, strict=False)
    late_after_hours: int | None = Field(default=None, ge=1)
    undeclared: Undeclared = Field(default=Undeclared.KEEP, strict=False)
    compatibility: Mode = Field(default=Mode.FULL, strict=False)
    lifecycle: LifecycleState = Field(default=LifecycleState.ACTIVE, strict=False)
    deprecated_until: date | None = Field(default=None, strict=False)
    versions: dict[str, VersionLifecycle] = {}


class EnvelopeFile(Shape):
    """`envelope/contract.yaml`: what may change of the contract that every event's envelope has."""

    owner: str
    description: str
    consumers: list[str] = []
    pinned: dict[str, str] = {}
    compatibility: Mode = Field(default=Mode.FULL, strict=False)
    versions: dict[str, VersionLifecycle] = {}


class UnknownEventsFile(Shape):
    """`unknown_events.yaml`: whose events are accepted though no contract is about them."""

    class Kept(Shape):
        sources: list[str] = Field(min_length=1)
        why: str = Field(min_length=1)
        calls: list[Annotated[Call, Field(strict=False)]] = []
        environments: list[str] = []

    owner: str
    keep: list[Kept] = []


class PropertyShape(Shape):
    """One property, one property inside an object, or each item of an array. `type: enum` with `values` is a string."""

    type: PropertyType = Field(strict=False)
    description: str = ""
    owner: str = ""
    enum: list[str] = []
    values: list[str] = []
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=0)
    pattern: str | None = None
    format: Format | None = Field(default=None, strict=False)
    nullable: bool | None = None
    default: Any = None
    pii: bool = False
    identifier: str | None = None
    properties: dict[str, PropertyShape] = {}
    required: list[str] = []
    items: PropertyShape | None = None

    @model_validator(mode="before")
    @classmethod
    def enum_is_a_string(cls, content: Any) -> Any:
        """`type: enum` with `values` is another spelling of a string with an `enum`; nobody else has to know it."""
        if not isinstance(content, dict) or content.get("type") != "enum":  # pyright: ignore[reportUnknownMemberType]
            return cast("Any", content)
        said = cast("dict[str, Any]", content)
        if not said.get("values") or "enum" in said:
            raise PydanticCustomError("enum", "is an enum, which says its strings once, in `values`; list them there.")
        return {key: value for key, value in said.items() if key != "values"} | {
            "type": "string",
            "enum": said["values"],
        }


class VersionFile(Shape):
    """`events/<event>/<version>.json|yaml`: what may not change."""

    class Breaking(Shape):
        """That the version does not fit the one before: how to change over, and who reads the event."""

        migration: str = Field(min_length=1)
        owners: list[str] = Field(min_length=1)

    event_name: str = Field(min_length=1)
    version: str = Field(pattern=r"^v[1-9][0-9]*$")
    properties: dict[str, PropertyShape]
    required: list[str] = []
    breaking: Breaking | None = None


class InvalidExample(Shape):
    event: dict[str, Any]
    violates: list[str] = Field(min_length=1)


class ExamplesFile(Shape):
    """`events/<event>/<version>.examples.yaml|json`: events that keep the promise, and events that break it."""

    valid: list[dict[str, Any]] = Field(min_length=1)
    invalid: list[InvalidExample] = []


class ConflictJumpShape(Shape):
    at_least: int = Field(default=20, ge=1)
    above_share: float = Field(default=0.02, ge=0, le=1)
    factor: float = Field(default=3.0, ge=1)


class IdentityFile(Shape):
    """`identity.yaml`; words of a closed list are looked at by `registry/identity_rules.py`, which suggests others."""

    class Limit(Shape):
        most: int = Field(ge=1)
        per: str = "ever"

    class Shared(Shape):
        more_than: int = Field(ge=1)
        of: str

    class Kind(Shape):
        paths: list[str] = Field(min_length=1)
        owner: str | None = None
        normalise: list[str | dict[str, str]] = []
        valid: str | None = None
        blocked_values: list[str] = []
        blocked_patterns: list[str] = []
        shared: IdentityFile.Shared | None = None
        limit: int | IdentityFile.Limit = 5
        unique: bool = False
        priority: int | None = Field(default=None, ge=1)
        strength: str = "strong"
        time_to_live_days: int | None = Field(default=None, ge=1)

        @field_validator("limit")
        @classmethod
        def limit_is_some(cls, limit: int | IdentityFile.Limit) -> int | IdentityFile.Limit:
            """A profile of no identifier would be nobody's."""
            if isinstance(limit, int) and limit < 1:
                raise PydanticCustomError("limit", "must be at least 1.")
            return limit

    class Rules(Shape):
        winner: str | None = None
        maximum_cluster: int | None = Field(default=None, ge=2)
        on_conflict: str | None = None
        conflict_jump: ConflictJumpShape | None = None

    class Traits(Shape):
        default: str | dict[str, list[str]] = "latest"
        policies: dict[str, str | dict[str, list[str]]] = {}

    version: str = Field(min_length=1, max_length=40)
    owner: str
    kinds: dict[str, Kind]
    rules: Rules | None = None
    traits: Traits | None = None


class ConsentFile(Shape):
    class Purpose(Shape):
        description: str
        channels: list[str] = Field(min_length=1)

    class Region(Shape):
        countries: list[str]
        also_requires: dict[str, list[str]] = {}
        valid_for_days: dict[str, int] = {}

    version: str
    owner: str
    purposes: dict[str, Purpose]
    country_from: list[str]
    regions: dict[str, Region]
    default_region: str


class ConsentMappingFile(Shape):
    owner: str
    basis: str
    environments: list[str] = []
    event: str
    path: str
    purpose: str
    channels: list[str] = Field(min_length=1)


class ConditionShape(Shape):
    """One condition: `count` or `sum`/`of` of an event, or a `trait`."""

    count: str | None = None
    sum: str | None = None
    times: str | None = None
    of: str | None = None
    within_days: int | None = Field(default=None, ge=1, le=3650)
    trait: str | None = None
    is_in: list[Scalar] | None = None
    at_least: float | None = None
    at_most: float | None = None


class AudienceFile(Shape):
    owner: str
    description: str
    purpose: str
    channel: str
    conditions: list[ConditionShape] = Field(min_length=1)


class TriggerShape(Shape):
    event: str | None = None
    where: dict[str, Scalar] = {}
    entered_audience: bool = False


class SendShape(Shape):
    destination: str
    endpoint: str
    subject: str


class WorkflowFile(Shape):
    owner: str
    version: str
    description: str
    trigger: TriggerShape
    audience: str
    purpose: str
    channel: str
    priority: int
    send: SendShape
    reentry_days: int | Literal["never_again"] | None = None
    expires_after_hours: int = Field(ge=1)
    data_fields: dict[str, str] = {}
    profile_fields: dict[str, str] = {}

    @field_validator("reentry_days", mode="before")
    @classmethod
    def reentry_is_a_time(cls, days: Any) -> Any:
        """One sentence for what may be written in two ways."""
        if (
            days is None
            or days == "never_again"
            or (isinstance(days, int) and not isinstance(days, bool) and days >= 0)
        ):
            return days
        raise PydanticCustomError(
            "reentry", "is neither a whole number of days nor never_again; write one of them, or leave it out."
        )


class EndpointShape(Shape):
    path: str
    is_idempotent: bool
    batch_size: int = Field(ge=1)
    calls_per_second: float = Field(gt=0)


class DestinationFile(Shape):
    owner: str
    kind: str
    profile_key: str
    profile_endpoint: EndpointShape
    endpoints: dict[str, EndpointShape]


class FailureModeShape(Shape):
    owner: str
    response: str = Field(min_length=1)


class QuarantineModeShape(FailureModeShape):
    keep_days: int | None = Field(default=None, ge=1)


class FailureModesFile(Shape):
    quarantine_keep_days: int | None = Field(default=None, ge=1)
    quarantine: dict[str, QuarantineModeShape]
    duplicate: dict[str, FailureModeShape]
    link: dict[str, FailureModeShape]
    decision: dict[str, FailureModeShape]
    gate: dict[str, FailureModeShape]
    send: dict[str, FailureModeShape]
    hold: dict[str, FailureModeShape]
    forward: dict[str, FailureModeShape] = {}
    shed: dict[str, FailureModeShape] = {}
    incident: dict[str, FailureModeShape]


def _zoned(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("has no zone; write it as 2026-01-31T10:00:00Z")
    return instant.astimezone(UTC)


class SourceKeyShape(Shape):
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    made_at: Annotated[datetime, Field(strict=False), AfterValidator(_zoned)]
    until: Annotated[datetime, Field(strict=False), AfterValidator(_zoned)] | None = None


Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,80}$")]
"""The name of an environment variable that holds a secret."""


class WebhookShape(Shape):
    secret: Variable
    trusts_first_event: bool = False


class ForwardShape(Shape):
    to: str = Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$")
    key: Variable
    purpose: str | None = None
    channel: str | None = None


class SourceShape(Shape):
    owner: str
    environment: str = Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")
    description: str = ""
    events: list[str] = []
    pinned: dict[str, str] = {}
    events_per_second: float | None = Field(default=None, gt=0)
    shed: Sheddable = Field(default=Sheddable.BEST_EFFORT, strict=False)
    keys: list[SourceKeyShape] = []
    webhook: WebhookShape | None = None
    forward: ForwardShape | None = None


class SourcesFile(Shape):
    """`sources.yaml`: who may send events."""

    sources: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")], SourceShape] | None = None
