"""The settings of one installation: what the environment says, read once into one frozen object."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from activation_dagster.errors import SettingsInvalid

PREFIX = "ACTIVATION_"
TEST_PREFIX = "ACTIVATION_TEST_"
"""Variables that speak to the tests (where the real data is, say); they are no settings and no mistakes either."""

_REPOSITORY = Path(__file__).resolve().parent.parent
_MEBIBYTE = 1024 * 1024
_UNSHOWN = frozenset({"state_url", "iterable_base_url", "iterable_api_key"})
"""Settings whose value may hold a password: no sentence repeats it."""


def _absolute(path: Path) -> Path:
    # The processes of one installation do not share a current folder: a Dagster run may start in another one.
    return path.expanduser().absolute()


def _home(path: Path) -> Path:
    if "?" in str(path):
        raise ValueError("holds a question mark, which ends the path in a database URL")
    if "%" in str(path):
        raise ValueError("holds a percent sign, which the lake's log would read as an escape")
    return _absolute(path)


def _folder(path: Path) -> Path:
    found = _absolute(path)
    if not found.is_dir():
        raise ValueError("is no folder")
    return found


def _state_url(url: str | None) -> str | None:
    if url is not None and not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("names no database that state can live in")
    return url


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("is no http or https address")
    return url.rstrip("/")


class Settings(BaseSettings):
    """Everything that differs between two installations; each field is the variable ACTIVATION_<FIELD>.

    Frozen. Paths are absolute from the start. Build it with `load_settings()`, or with keywords in a test.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    home: Annotated[
        Path, AfterValidator(_home), Field(description="Write a path without a question mark or percent sign.")
    ] = Path(".activation")
    environment: Annotated[
        str,
        Field(
            pattern=r"^[a-z][a-z0-9_]{0,30}$",
            description="Write a small letter, then at most 30 small letters, digits or underscores, such as 'demo'.",
        ),
    ] = "demo"
    state_url: Annotated[
        str | None,
        AfterValidator(_state_url),
        Field(
            repr=False,
            description="Write postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:////PATH, "
            "or unset it for a SQLite file under ACTIVATION_HOME.",
        ),
    ] = None
    contracts: Annotated[
        Path,
        AfterValidator(_folder),
        Field(description="Write the path of the folder that holds events/ and workflows/."),
    ] = _REPOSITORY / "contracts"
    sql: Annotated[
        Path, AfterValidator(_folder), Field(description="Write the path of the folder that holds the models.")
    ] = _REPOSITORY / "sql"
    iterable_base_url: Annotated[
        str,
        AfterValidator(_http_url),
        Field(repr=False, description="Write an address such as https://api.iterable.com."),
    ] = "http://127.0.0.1:8085"
    iterable_api_key: Annotated[SecretStr, Field(description="Write the key as Iterable shows it.")] = SecretStr("")
    dedupe_window_hours: Annotated[int, Field(ge=1, le=8760, description="Write whole hours from 1 to 8760.")] = 24
    batch_max_bytes: Annotated[int, Field(ge=1, description="Write whole bytes, 1 or more.")] = 128 * _MEBIBYTE
    lease_seconds: Annotated[int, Field(ge=1, le=3600, description="Write whole seconds from 1 to 3600.")] = 60
    send_claim_size: Annotated[int, Field(ge=1, le=5000, description="Write a whole number from 1 to 5000.")] = 200

    collector_max_event_bytes: Annotated[
        int, Field(ge=1024, le=500_000, description="Write whole bytes from 1024 to 500000.")
    ] = 32 * 1024
    collector_max_batch_bytes: Annotated[
        int, Field(ge=1024, le=16 * _MEBIBYTE, description="Write whole bytes from 1024 to 16777216.")
    ] = 500 * 1024
    collector_max_batch_events: Annotated[int, Field(ge=1, description="Write a whole number, 1 or more.")] = 2_500
    collector_seal_seconds: Annotated[float, Field(gt=0, le=600, description="Write seconds, at most 600.")] = 1.0
    collector_seal_bytes: Annotated[int, Field(ge=1, description="Write whole bytes, 1 or more.")] = 8 * _MEBIBYTE
    collector_shed_bytes: Annotated[int, Field(ge=1, description="Write whole bytes, 1 or more.")] = 8 * _MEBIBYTE
    collector_shed_seconds: Annotated[float, Field(gt=0, le=600, description="Write seconds, at most 600.")] = 2.5
    collector_client_address: Annotated[
        Literal["off", "truncated", "full"], Field(description="Write off, truncated or full.")
    ] = "truncated"

    def in_environment(self, environment: str) -> Settings:
        """The same installation's settings for another environment: its own landing, lake and state.

        Raises SettingsInvalid where one state database is named and the environment is another: it belongs to one.
        """
        if environment == self.environment:
            return self
        if self.state_url is not None:
            raise SettingsInvalid(
                f"The state of environment '{environment}' is not known: ACTIVATION_STATE_URL names that of "
                f"'{self.environment}'. Ask a collector that runs with that environment."
            )
        return self.model_copy(update={"environment": environment})

    @property
    def landing_root(self) -> Path:
        """The folder of this environment's sealed segments, `<source>/<YYYY>/<MM>/<DD>/<HH>/` below it."""
        return self.home / "landing" / self.environment

    @property
    def lake_root(self) -> Path:
        """The folder of this environment's Delta tables, one folder each."""
        return self.home / "lake" / self.environment

    @property
    def resolved_state_url(self) -> str:
        """The SQLAlchemy URL of the state database; may hold a password, so never print it."""
        return self.state_url or f"sqlite:///{self.home / 'state' / f'{self.environment}.db'}"


def variable(field: str) -> str:
    """The environment variable that sets a field."""
    return f"{PREFIX}{field.upper()}"


def load_settings() -> Settings:
    """Read the environment; call it once, at a door, and hand the result down.

    An empty variable counts as unset. Raises SettingsInvalid with one sentence for each wrong or unknown
    variable, all at once; no sentence shows a value that may hold a secret.
    """
    sentences = _unknown(os.environ)
    try:
        settings = Settings()
    except ValidationError as invalid:
        # `from None`: the error of pydantic holds every value that it refused, secrets too.
        sentences += [_sentence(str(error["loc"][0]), error["msg"], error["input"]) for error in invalid.errors()]
        raise SettingsInvalid(_joined(sentences)) from None
    if sentences:
        raise SettingsInvalid(_joined(sentences))
    return settings


def _joined(sentences: list[str]) -> str:
    return "\n".join(sorted(sentences))


def _unknown(environ: Mapping[str, str]) -> list[str]:
    known = [variable(field) for field in Settings.model_fields]
    strangers = sorted(
        name for name in environ if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name not in known
    )
    sentences: list[str] = []
    for name in strangers:
        near = difflib.get_close_matches(name, known, n=1)
        advice = f"Did you mean {near[0]}?" if near else f"Unset it, or use one of {', '.join(known)}."
        # A misspelt ACTIVATION_STATE_URL would otherwise write production's state into a local file.
        sentences.append(f"The environment variable {name} is set, and no setting has that name. {advice}")
    return sentences


def _sentence(field: str, fault: str, given: object) -> str:
    value = "the value that it holds" if field in _UNSHOWN else f"'{given}'"
    what = fault.removeprefix("Value error, ")
    if what == fault:  # pydantic's own words
        what = f"is refused ({fault[:1].lower()}{fault[1:]})"
    advice = Settings.model_fields[field].description
    return f"The environment variable {variable(field)} is wrong: {value} {what}. {advice}"
