"""CLOCKWORK: the only folder that imports dagster."""
