"""How hypothesis searches: `ci` (the default) finds the same on every run, `dev` looks for something new.

Ask for the second with `HYPOTHESIS_PROFILE=dev`.
"""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: two cores shared with a PostgreSQL and a Dagster say nothing about one example.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("dev", deadline=None, max_examples=1_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
