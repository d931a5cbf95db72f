"""What the commands on quarantine say to people: samples, and what was tried or done, in sentences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from activation_dagster.commands.printing import counted, plain, print_json, print_table, say, shown

if TYPE_CHECKING:
    from activation_dagster.domain.repairs import Change
    from activation_dagster.pipeline.dismissal import DismissalReport
    from activation_dagster.pipeline.purge import PurgeReport
    from activation_dagster.pipeline.quarantine import QuarantinedEvent
    from activation_dagster.pipeline.reentry import ReentryReport, Sample


def print_events(found: Sequence[QuarantinedEvent], *, reveal: bool) -> None:
    """Print samples of what waits, or waited."""
    for sample in found:
        say(f"{sample.event_id}  {sample.reason}  {sample.event or '(no event)'}  owner {sample.owner}")
        judged = f", judged by {sample.contract_version}" if sample.contract_version else ""
        say(f"seen {shown(sample.seen_at)} UTC from {sample.source}, in batch {sample.batch_id}{judged}", indent=2)
        for violation in sample.violations:
            say(f"{'in dispute' if sample.candidates else 'breaks'} {violation}", indent=2)
        for one in sample.candidates:
            stands = f"stands on {one.other_profile_id}" if one.other_profile_id else f"offered to {one.profile_id}"
            say(f"candidate {stands} by {one.kind} {one.identifier}; stopped by {one.rule}", indent=2)
        if sample.closed_by:
            became = f", entered again as {sample.became}" if sample.became else ""
            say(f"closed by {sample.closed_by}{became}", indent=2)
        payload = sample.payload
        text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
        say(text, indent=2)
    if found and not reveal:
        say("Values are masked; --reveal shows them.")


def print_report(report: ReentryReport, *, reveal: bool, applied: bool, as_json: bool) -> None:
    """Print what a repair or a replay would do, or did."""
    if as_json:
        print_json({**plain(report), "applied": applied})
        return
    what = f"Repair {report.name}" if report.name else "Replay"
    if report.finished:
        say(f"Finished {counted(report.finished, 'segment')} that an earlier one had not come to seal.")
    if report.selected == 0:
        say(f"{what}: nothing waits that fits. What entered again or was dismissed is in `quarantine log`.")
        return
    for sample in report.samples:
        _print_sample(sample)
        if report.name and not sample.changes:
            say("no step of the repair changed it", indent=2)
    if report.samples and not reveal:
        say("Values are masked; --reveal shows them.")
    passes = "pass" if applied else "would pass"
    say(f"{what}: {counted(report.selected, 'event')} selected; {report.passing:,} {passes} today's contracts.")
    for reason, count in report.broken.items():
        say(f"{count:,} still broken: {reason}", indent=2)
    if not applied:
        say(
            "Nothing was changed. To let them enter again: the same with `--apply --by NAME`."
            if report.passing
            else "Nothing to apply."
        )
    elif report.segments:
        say(
            f"{counted(report.passing, 'event')} entered again in {counted(len(report.segments), 'segment')}; the next "
            f"batch takes them (`activation work`, or the sensor). Kept as act {report.act_id}, see `quarantine log`."
        )
    else:
        say("None of them entered again.")


def print_dismissal(report: DismissalReport, *, reveal: bool, applied: bool) -> None:
    """Print what a dismissal would take off the list, or took."""
    if report.selected == 0:
        say("Nothing waits that fits; nothing was dismissed.")
        return
    print_events(report.samples, reveal=reveal)
    if applied:
        say(
            f"Dismissed {counted(report.selected, 'event')}. What is dismissed stays in quarantined_events; "
            f"kept as act {report.act_id}, see `quarantine log`."
        )
        return
    say(f"Dismissal: {counted(report.selected, 'event')} selected.")
    for group, count in report.by_group.items():
        say(f"{count:,} {group}", indent=2)
    say("Nothing was changed. To take them off the list: the same with `--apply --by NAME --why SENTENCE`.")


def print_purge(report: PurgeReport, *, applied: bool) -> None:
    """Print what is kept too long, and what of it was removed."""
    print_table(
        ["reason", "days kept", "events", "of them waiting", "batches", "first seen", "last seen"],
        [
            (g.reason, g.keep_days, g.events, g.waiting, g.batches, g.first_seen_at, g.last_seen_at)
            for g in report.groups
        ],
        empty="Nothing is kept longer than its reason asks for.",
        may_go=("last seen", "first seen", "batches"),
    )
    if report.soon:
        say(f"{counted(report.soon, 'event')} more within seven days.")
    if not applied:
        if report.groups:
            say("Nothing was changed. To remove them for good: `activation quarantine purge --apply --by NAME`.")
        return
    if report.removed:
        say(f"Removed {counted(report.removed, 'event')} for good; kept as act {report.act_id}, see `quarantine log`.")
    if report.entering:
        what = counted(report.entering, "event")
        say(f"{what} stay: some of their batch and reason enter again and are not worked yet.")
    if report.passed_over:
        say(
            f"Passed over: {', '.join(report.passed_over)}. Somebody works on them, or the lake does not hold what "
            "state says (`activation lake verify`)."
        )


def _print_sample(sample: Sample) -> None:
    verdict = "passes" if not sample.reason else f"still broken: {sample.reason}"
    say(f"{sample.event_id}  {verdict}")
    for violation in sample.violations:
        say(f"breaks {violation}", indent=2)
    for change in sample.changes:
        say(f"{change.path}: {_side(change, after=False)} → {_side(change, after=True)}", indent=2)


def _side(change: Change, *, after: bool) -> str:
    stands, value = (change.has_after, change.after) if after else (change.has_before, change.before)
    return _text(value) if stands else "(nothing)"


def _text(value: Any) -> str:
    masked = isinstance(value, str) and value.startswith("<") and value.endswith(">")
    return value if masked else json.dumps(value, ensure_ascii=False)
