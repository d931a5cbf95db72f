"""The clockwork: the only folder that imports Dagster, one module for each of its concepts."""
