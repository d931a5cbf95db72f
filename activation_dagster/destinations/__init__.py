"""PLACES messages go to: the protocol, and one module for each destination."""
