"""A local stand-in for Iterable: a real HTTP server that keeps what it receives and refuses what Iterable refuses."""
