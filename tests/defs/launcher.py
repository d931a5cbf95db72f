"""A launcher that carries a run out in this process before the launch returns, in a thread of its own."""

from __future__ import annotations

from threading import Thread
from typing import Any

from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher


class LauncherInThisProcess(SyncInMemoryRunLauncher):
    """Dagster's own does so on the caller's thread, whose event loop a run may not use a second time."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Carry out the run."""
        raised: list[BaseException] = []

        def carry_out() -> None:
            try:
                super(LauncherInThisProcess, self).launch_run(context)
            except BaseException as error:
                raised.append(error)

        thread = Thread(target=carry_out, name="run")
        thread.start()
        thread.join()
        if raised:
            raise raised[0]

    def terminate(self, run_id: str) -> Any:
        """Nothing runs any more when somebody could ask."""
        return False
