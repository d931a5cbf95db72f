"""The demo: the whole main job on the embedded default, with real processes, in front of your eyes."""

from activation_dagster.demo.run import run_demo, run_ui

__all__ = ["run_demo", "run_ui"]
