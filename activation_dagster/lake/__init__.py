"""PLACE where SQL runs: relations from sql/, Delta tables, and the engine that computes them."""
