"""A governed customer-data activation platform on Dagster: events in, governed decisions, one send out."""
