"""VERBS: what is done with a batch; each takes its places and `now` and returns a frozen report."""
