"""Two real sources, years old, converted to Segment-spec events and replayed as if both ended now."""

from activation_dagster.sources.real_data.replay import convert as convert
