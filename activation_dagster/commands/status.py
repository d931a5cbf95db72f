"""`activation status`: where the environment stands, and whether both sums hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activation_dagster.commands.installation import opened
from activation_dagster.commands.printing import AsJson, counted, end, plain, print_json, print_table, say, shown

if TYPE_CHECKING:
    from activation_dagster.pipeline.forward_status import ForwardStatus
    from activation_dagster.pipeline.watch import Totals


def status(*, as_json: AsJson = False) -> None:
    """Count everything: events, profiles, decisions, sends, and the two sums. Exit 1 when a sum is broken."""
    from activation_dagster.pipeline.forward_status import forward_status
    from activation_dagster.pipeline.watch import totals
    from activation_dagster.registry.source_files import load_sources
    from activation_dagster.state import halts
    from activation_dagster.state.incidents import list_incidents
    from activation_dagster.wiring import forward_targets

    with opened() as places:
        found = totals(places)
        with places.state.read() as connection:
            incidents = len(list_incidents(connection, is_open=True))
            halted = [halt.scope for halt in halts.active(connection)]
        targets = forward_targets(load_sources(places.contracts_root), places.environment)
        forwards = [forward_status(places, target) for target in targets]
        if as_json:
            print_json(
                {
                    "environment": places.environment,
                    **plain(found),
                    "open_incidents": incidents,
                    "halts": halted,
                    "forwards": forwards,
                }
            )
        else:
            _print(places.environment, found, incidents, halted)
            _print_forwards(forwards)
    end(found=not found.conserved)


def _print_forwards(forwards: list[ForwardStatus]) -> None:
    for at in forwards:
        why = ", ".join(f"{events:,} {reason}" for reason, events in at.withheld_by_reason.items())
        say(
            f"Source '{at.source}' is sent on to {at.address}: {at.sent:,} events sent, {at.withheld:,} withheld"
            f"{f' ({why})' if why else ''}, {at.refused:,} refused for good; {at.waiting_segments:,} segments wait, "
            f"{at.lag_seconds:,.0f} s behind."
            if at.begun
            else f"Source '{at.source}' is to be sent on to {at.address}, and nobody has begun: `activation forward`."
        )
        if at.is_stale:
            say("  Nobody has looked after it for two minutes: does `activation forward` run?")


def _print(environment: str, found: Totals, incidents: int, halted: list[str]) -> None:
    say(
        f"Environment {environment}: {counted(found.batches, 'batch', 'batches')}, "
        f"{found.unfinished_batches:,} of them unfinished, "
        f"{counted(found.waiting_segments, 'segment')} waiting, everything worked that was sealed until "
        f"{shown(found.watermark)} UTC."
    )
    print_table(
        ["events", "count"],
        [
            ("received", found.received),
            ("accepted", found.accepted),
            ("duplicate", found.duplicate),
            ("quarantined", found.quarantined),
            *((f"  {reason}", count) for reason, count in found.quarantined_by_reason.items()),
            ("shed", found.shed),
            *((f"  {reason}", count) for reason, count in found.shed_by_reason.items()),
        ],
    )
    print_table(
        ["people", "count"],
        [("profiles", found.profiles), *((f"  in {name}", size) for name, size in found.audiences.items())],
    )
    print_table(
        ["decisions", "count"],
        [
            ("decisions", found.decisions),
            ("sent", found.sent),
            ("refused", found.refused),
            *((f"  {reason}", count) for reason, count in found.refused_by_reason.items()),
            ("pending", found.pending),
            ("  of them held", found.held),
            ("  of them unknown", found.unknown),
        ],
    )
    say(
        f"received {found.received:,} = accepted {found.accepted:,} + duplicate {found.duplicate:,} "
        f"+ quarantined {found.quarantined:,} + shed {found.shed:,}"
    )
    say(f"decisions {found.decisions:,} = sent {found.sent:,} + refused {found.refused:,} + pending {found.pending:,}")
    say("Both sums hold in every batch." if found.conserved else "A SUM IS BROKEN: see `activation incidents list`.")
    if halted:
        say(f"Halted: {', '.join(halted)}. See `activation sends resume`.")
    if incidents:
        are = "is" if incidents == 1 else "are"
        say(f"{counted(incidents, 'incident')} {are} open: see `activation incidents list`.")
