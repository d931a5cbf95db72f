"""Partitions: how assets are cut; here only hours of arrival, whose keys are the lake's `arrival_hour`.

A micro-batch is no partition but a `batch_id` inside one: at one every ten seconds, batches would pass what Dagster can
list in two weeks.
"""

from __future__ import annotations

from datetime import UTC, datetime

from dagster import HourlyPartitionsDefinition

from activation_dagster.lake.delta import hour_key

FIRST_HOUR = "2026-11-01-00"
"""No installation is older than this; a constant, because moving it would move every partition's number."""

KEY_FORMAT = "%Y-%m-%d-%H"

# end_offset: without it the running hour would have no partition before it is over.
HOURLY = HourlyPartitionsDefinition(start_date=FIRST_HOUR, fmt=KEY_FORMAT, end_offset=1)


def hour_of(key: str) -> datetime:
    """The arrival hour (UTC) that a partition key names."""
    return datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC)


def is_partition(arrival_hour: datetime) -> bool:
    """Whether an arrival hour (UTC) is a partition; it is none where the clock of whoever sealed was wrong."""
    return HOURLY.has_partition_key(hour_key(arrival_hour))


def key_of(arrival_hour: datetime) -> str:
    """The partition key of an arrival hour, or the nearest one: Dagster starts no run outside its partitions."""
    if is_partition(arrival_hour):
        return hour_key(arrival_hour)
    newest = HOURLY.get_last_partition_key()
    return FIRST_HOUR if arrival_hour < hour_of(FIRST_HOUR) or newest is None else newest
