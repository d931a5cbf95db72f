"""`activation events` and `activation simulate`: events into landing, from a file, an archive, or made up."""

from __future__ import annotations

import gzip
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from activation_dagster.commands.installation import opened
from activation_dagster.commands.printing import AsJson, counted, end, plain, print_json, progress_bar, say, warn
from activation_dagster.errors import WrongUse
from activation_dagster.sources.scenarios import Scenario

if TYPE_CHECKING:
    from activation_dagster.sources.scenarios import Call, Plan

app = typer.Typer(help="Events before they are judged.", no_args_is_help=True)

SEGMENT_BYTES = 8 * 1024 * 1024
"""Size of a sealed segment as landed by hand: big enough for bulk, small enough for a batch of several."""

Source = Annotated[str, typer.Option(help="The source whose landing folder the events go to.")]


@app.command()
def land(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, readable=True, help="NDJSON, plain or .gz: one event a line."),
    ],
    *,
    source: Source,
    as_json: AsJson = False,
) -> None:
    """Land a file of NDJSON as sealed segments, in its order."""
    _land(_lines(file), source=source, as_json=as_json)


@app.command(name="import")
def import_(
    place: Annotated[
        str,
        typer.Argument(metavar="PATH|s3://BUCKET/PREFIX", help="A folder, a file, or what stands under a prefix."),
    ],
    *,
    source: Source,
    live: Annotated[
        bool,
        typer.Option("--live", help="Send what the events trigger; without it, their sends are held for a person."),
    ] = False,
    endpoint: Annotated[
        str,
        typer.Option(envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"], help="Address of an S3 that is not Amazon's."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Land an archive: Segment's S3 layout, or any tree of NDJSON, plain or gzip.

    Done again, or after a crash, only what is missing lands. Credentials are found as AWS tools find
    them. Exit 1 when a file could not be imported to its end.
    """
    from activation_dagster.domain.batches import Provenance
    from activation_dagster.pipeline.import_archive import import_archive
    from activation_dagster.sources.buckets import open_archive

    has_region = bool(os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"))
    with opened() as places, progress_bar("Importing", hidden=as_json) as tell:
        report = import_archive(
            places,
            open_archive(place, endpoint=endpoint, has_region=has_region),
            source=source,
            provenance=Provenance.LIVE if live else Provenance.BACKFILL,
            progress=lambda p: tell(p.bytes_read, p.bytes_listed, f"{p.lines:,} events"),
        )
    if as_json:
        print_json(report)
    else:
        say(
            f"Landed {counted(report.lines, 'line')} of source '{source}' in "
            f"{counted(report.segments, 'sealed segment')}, from "
            f"{report.imported:,} of {report.files:,} files; {report.known:,} had been imported before, "
            f"{report.passed_over:,} others were passed over for their names."
        )
        for trouble in report.troubles:
            warn(trouble.sentence)
    end(found=bool(report.troubles))


@app.command(name="status")
def status_of(
    message_id: Annotated[str, typer.Argument(help="The event's messageId.")],
    *,
    source: Source,
    as_json: AsJson = False,
) -> None:
    """What became of an event: pending, accepted, duplicate, quarantined or shed, with its reason."""
    from activation_dagster.pipeline.receipts import event_receipt

    with opened() as places:
        found = event_receipt(places, message_id, source=source)
    if found is None:
        raise WrongUse(
            f"No event with this messageId is known, of source '{source}' in landing and in the lake. "
            "Look at the source's name and the environment (ACTIVATION_ENVIRONMENT)."
        )
    if as_json:
        print_json(found)
        return
    reason = "" if found.reason is None else f" ({found.reason})"
    contract = "" if found.contract is None else f", contract {found.contract} {found.contract_version or ''}".rstrip()
    say(f"{found.status}{reason}{contract}")
    for event in found.events:
        say(f"event {event} in batch {found.batch_id}", indent=4)


def simulate(
    *,
    seed: Annotated[int, typer.Option(help="The same seed gives the same message ids: landing it twice repeats.")] = 1,
    people: Annotated[int, typer.Option(min=1, help="How many people, without a scenario.")] = 1_000,
    events: Annotated[int, typer.Option(min=1, help="How many lines, dirt included, without a scenario.")] = 20_000,
    scenario: Annotated[
        Scenario | None, typer.Option(help="A day of traffic instead, calm or with one thing that goes wrong.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, help="Calls a second, with a scenario.")] = 20.0,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long, with a scenario.")] = 3.0,
    to: Annotated[
        str, typer.Option(help="A collector to send the scenario to, as it happens; else it is landed at once.")
    ] = "",
    key: Annotated[str, typer.Option(envvar="SIMULATE_WRITE_KEY", help="The write key, for --to.")] = "",
    source: Source = "shop",
    as_json: AsJson = False,
) -> None:
    """Land the events of a made-up shop, with known dirt in them; or a scenario, landed or sent to a collector."""
    from activation_dagster.sources.scenarios import Plan, calls
    from activation_dagster.sources.simulator import simulate as make_up
    from activation_dagster.sources.simulator import written
    from activation_dagster.wiring import utc_now

    if to and (scenario is None or not key):
        raise WrongUse("A collector is named without a scenario or a key, by --to. Give --scenario and --key as well.")
    if scenario is None:
        made = make_up(seed=seed, people=people, events=events, now=utc_now())
        _land(made.lines, source=source, as_json=as_json)
        return
    start_ms = _now_ms() - (0 if to else round(minutes * 60_000))
    plan = Plan(scenario=scenario, seed=seed, rate=rate, minutes=minutes, start_ms=start_ms)
    if to:
        _send(plan, to=to, key=key, as_json=as_json)
    else:
        _land((orjson.dumps(written(call.draft)) for call in calls(plan)), source=source, as_json=as_json)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _send(plan: Plan, *, to: str, key: str, as_json: bool) -> None:
    from activation_dagster.sources.scenarios import calls
    from activation_dagster.sources.traffic import send

    by_trouble: Counter[str] = Counter()

    def counting() -> Iterator[Call]:
        for call in calls(plan):
            by_trouble[call.trouble.value or "honest"] += 1
            yield call

    with progress_bar(f"Sending {plan.scenario.value}", hidden=as_json, unit="seconds") as tell:
        sent = send(
            counting(),
            address=to.rstrip("/").removesuffix("/v1"),
            key=key,
            now_ms=_now_ms,
            sleep=time.sleep,
            progress=lambda s: tell((_now_ms() - plan.start_ms) // 1000, plan.length_ms // 1000, f"{s.events:,} calls"),
        )
    if as_json:
        print_json({"scenario": plan.scenario, "to": to, **plain(sent), "calls": dict(by_trouble)})
    else:
        say(
            f"Sent {sent.events:,} calls of '{plan.scenario.value}' in {sent.batches:,} batches to {to}, with "
            f"{sent.failed_tries:,} failed tries: {', '.join(f'{n:,} {word}' for word, n in by_trouble.most_common())}."
        )


def _lines(file: Path) -> Iterator[bytes]:
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
        for line in lines:
            yield line.removesuffix(b"\n")


def _land(lines: Iterable[bytes], *, source: str, as_json: bool) -> None:
    from activation_dagster.sources.land import land_in_segments, numbered_suffixes

    landed = 0

    def counting() -> Iterator[bytes]:
        nonlocal landed
        for line in lines:
            landed += 1
            yield line

    with opened() as places:
        sealed = land_in_segments(
            places.landing,
            source,
            counting(),
            segment_bytes=SEGMENT_BYTES,
            clock=places.clock,
            suffixes=numbered_suffixes(uuid.uuid4().hex[:12]),  # a name of this landing's own; nothing is decided by it
        )
    size = sum(segment.size_bytes for segment in sealed)
    if as_json:
        segments = [segment.segment_id for segment in sealed]
        print_json({"source": source, "lines": landed, "bytes": size, "segments": segments})
    else:
        where = counted(len(sealed), "sealed segment")
        say(f"Landed {counted(landed, 'line')} of source '{source}' in {where} ({size:,} bytes).")
