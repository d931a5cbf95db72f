"""`activation work`: plan and work what has landed without Dagster, then deliver what is due."""

from __future__ import annotations

from typing import Annotated

import typer

from activation_dagster.commands.installation import places_of, read_settings
from activation_dagster.commands.printing import AsJson, counted, end, plain, print_json, say


def work(
    *,
    delivers: Annotated[bool, typer.Option("--deliver/--no-deliver", help="Send what is due afterwards.")] = True,
    as_json: AsJson = False,
) -> None:
    """Work everything that has landed, then deliver what is due. Exit 1 when a sum is broken afterwards."""
    from activation_dagster.pipeline.reentry import finish_reentries
    from activation_dagster.pipeline.send import deliver
    from activation_dagster.pipeline.watch import watch
    from activation_dagster.pipeline.work import drain
    from activation_dagster.state.incidents import list_incidents
    from activation_dagster.wiring import open_destinations

    settings = read_settings()
    with places_of(settings) as places:
        finish_reentries(places)
        batches = drain(places, now=places.clock)
        delivery = None
        if delivers:
            with open_destinations(settings, places) as destinations:
                delivery = deliver(places, destinations, clock=places.clock, claim_size=settings.send_claim_size)
        watched = watch(places, places.clock())
        with places.state.read() as connection:
            open_incidents = len(list_incidents(connection, is_open=True))
    found = watched.totals
    if as_json:
        answer = {"batches": [batch.batch_id for batch in batches], "delivery": plain(delivery)}
        print_json({**answer, "conserved": found.conserved, "incidents": watched.incidents})
    else:
        worked = counted(len(batches), "batch", "batches")
        say(f"Worked {worked}; {found.received:,} events received and {found.decisions:,} decided in all.")
        if delivery is not None:
            say(
                f"Delivered: {delivery.sent:,} sent, {delivery.refused:,} refused at the gate, {delivery.rejected:,} "
                f"rejected, {delivery.waiting:,} waiting for another try, {delivery.unknown:,} unknown."
            )
        if not found.conserved:
            say(f"A SUM IS BROKEN: {len(watched.incidents):,} incidents, see `activation incidents list`.")
        elif open_incidents:
            are = "is" if open_incidents == 1 else "are"
            say(f"{counted(open_incidents, 'incident')} {are} open: see `activation incidents list`.")
    end(found=not found.conserved)
