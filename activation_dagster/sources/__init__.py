"""PLACES events come from: landing, the simulator, real data."""
