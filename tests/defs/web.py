"""Dagster's own API, asked as its web interface asks it: GraphQL, a code server, the backfill daemon, real runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.controller import create_daemon_grpc_server_registry
from dagster_graphql.client.query import LAUNCH_PARTITION_BACKFILL_MUTATION, LAUNCH_PIPELINE_EXECUTION_MUTATION
from dagster_graphql.schema import create_schema

from activation_dagster.settings import Settings

LOCATION = "house"


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """What a person does with clicks; `iterations` of the daemon are done at once."""

    instance: DagsterInstance
    workspace: WorkspaceProcessContext

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL answer."""
        answer = asyncio.run(
            create_schema().execute_async(
                query, context_value=self.workspace.create_request_context(), variable_values=variables
            )
        )
        assert answer.errors is None, answer.errors
        assert answer.data is not None
        return answer.data

    def backfill(self, *assets: str, partitions: Sequence[str]) -> list[DagsterRun]:
        """Select assets and partitions, launch a backfill, and wait for it; its runs."""
        params = {
            "assetSelection": [{"path": [name]} for name in assets],
            "partitionNames": list(partitions),
            "tags": [],
        }
        answer = self.ask(LAUNCH_PARTITION_BACKFILL_MUTATION, backfillParams=params)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        backfill_id = answer["backfillId"]
        for _ in range(20):
            found = self.instance.get_backfill(backfill_id)
            assert found is not None
            if found.status in BULK_ACTION_TERMINAL_STATUSES:
                break
            faults = list(execute_backfill_iteration(self.workspace, logging.getLogger("backfill")))
            assert not any(faults), faults
        else:
            raise AssertionError("The backfill did not end.")
        return list(self.instance.get_runs(RunsFilter(tags={"dagster/backfill": backfill_id})))

    def materialise(self, *assets: str, partition: str | None = None) -> DagsterRun:
        """Select assets and one partition, and press Materialize; the run when it has ended."""
        tags: Mapping[str, str] = {} if partition is None else {"dagster/partition": partition}
        params = {
            "selector": {
                "repositoryName": "__repository__",
                "repositoryLocationName": LOCATION,
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": [name]} for name in assets],
            },
            "runConfigData": {},
            "mode": "default",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        answer = self.ask(LAUNCH_PIPELINE_EXECUTION_MUTATION, executionParams=params)["launchPipelineExecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run = self.instance.get_run_by_id(answer["run"]["runId"])
        assert run is not None
        return run


@contextmanager
def opened_web(instance: DagsterInstance, settings: Settings, *, folder: Path) -> Generator[Web]:
    """The API over an instance that runs what is launched at once, on the definitions of one installation."""
    house = folder / f"{LOCATION}.py"
    house.write_text(
        "from pathlib import Path\n"
        "from pydantic import SecretStr\n"
        "from activation_dagster.definitions import build_defs\n"
        "from activation_dagster.settings import Settings\n"
        "defs = build_defs(Settings(\n"
        f"    home=Path({str(settings.home)!r}),\n"
        f"    environment={settings.environment!r},\n"
        f"    state_url={settings.state_url!r},\n"
        f"    iterable_base_url={settings.iterable_base_url!r},\n"
        f"    iterable_api_key=SecretStr({settings.iterable_api_key.get_secret_value()!r}),\n"
        "))\n",
        encoding="utf-8",
    )
    target = PythonFileTarget(
        python_file=str(house), attribute="defs", working_directory=str(Path.cwd()), location_name=LOCATION
    )
    with create_daemon_grpc_server_registry(instance) as code_servers:
        with WorkspaceProcessContext(instance, target, grpc_server_registry=code_servers) as workspace:
            yield Web(instance=instance, workspace=workspace)
        code_servers.shutdown_all_processes()
        code_servers.wait_for_processes()


def succeeded(runs: Sequence[DagsterRun]) -> bool:
    """Whether there are runs and all of them ended well."""
    return bool(runs) and all(run.status is DagsterRunStatus.SUCCESS for run in runs)
