"""NOUNS: the pure rules of the platform, with no I/O, no clock, no SQL and no Dagster."""
