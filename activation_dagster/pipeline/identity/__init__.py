"""Identity beyond the batch: who is who tried, shown, planned, applied to history and undone."""
