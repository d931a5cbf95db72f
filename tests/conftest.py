"""How hypothesis searches: `ci` (the default) finds the same on every run, `dev` looks for something new.

Ask for the second with `HYPOTHESIS_PROFILE=dev`.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# No deadline and no verdict on slow drawing: two cores shared with a PostgreSQL and a Dagster say nothing about either.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("ci", PATIENT, derandomize=True, database=None)
settings.register_profile("dev", PATIENT, max_examples=1_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
