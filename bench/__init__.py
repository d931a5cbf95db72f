"""Benchmarks: each prints a ratio to a floor or a peer that was measured in the same run."""
