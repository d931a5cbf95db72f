"""A launcher that carries a run out in this process before the launch returns, in a thread of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher


class LauncherInThisProcess(SyncInMemoryRunLauncher):
    """Dagster's own does so on the caller's thread, whose event loop a run may not use a second time."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Carry out the run."""
        with ThreadPoolExecutor(max_workers=1) as thread:
            thread.submit(super().launch_run, context).result()
