"""How many events a contract judged day by day, and how many of them wait: as small bars, and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from activation_dagster.registry.html_elements import Html, element

BAR, GAP, HEIGHT = 6, 2, 28


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenOn:
    """What an event's contract judged of what arrived on one day (`YYYY-MM-DD`, UTC)."""

    day: str
    accepted: int
    waiting: int

    @property
    def judged(self) -> int:
        return self.accepted + self.waiting

    @property
    def share(self) -> str:
        """How many of the judged wait, in per cent; 0 % only where none does."""
        if not self.judged:
            return "–"
        return "0 %" if not self.waiting else f"{max(100 * self.waiting / self.judged, 0.01):.2f} %"


def bars(trend: Sequence[SeenOn]) -> Html:
    """A bar a day, its foot in red as far as events wait; as high as the busiest day of the event."""
    most = max((one.judged for one in trend), default=0)
    if not most:
        return element("span", "–", class_="soft")
    drawn: list[Html] = []
    for place, one in enumerate(trend):
        tall, foot = (round(HEIGHT * count / most, 2) for count in (one.judged, one.waiting))
        # A single waiting event among thousands must still be seen.
        foot = max(foot, 2.0) if one.waiting else 0.0
        for height, kind in ((max(tall, 1.0), "bar"), (foot, "bar waits")):
            if height:
                drawn.append(_bar(place, height, kind))
    told = f"{len(trend)} days to {trend[-1].day}: {sum(one.judged for one in trend):,} judged, "
    told += f"{sum(one.waiting for one in trend):,} in quarantine"
    width = len(trend) * (BAR + GAP)
    size = {"width": str(width), "height": str(HEIGHT), "viewBox": f"0 0 {width} {HEIGHT}"}
    return element("svg", element("title", told), drawn, role="img", aria_label=told, **size)


def _bar(place: int, height: float, kind: str) -> Html:
    return element(
        "rect", x=str(place * (BAR + GAP)), y=f"{HEIGHT - height:g}", width=str(BAR), height=f"{height:g}", class_=kind
    )


def days(trend: Sequence[SeenOn]) -> Html | None:
    """A table of the days on which anything was judged, the newest first; None where there is none."""
    seen = [one for one in reversed(trend) if one.judged]
    if not seen:
        return None
    headings = [("Day of arrival", False), ("Judged", "number"), ("In quarantine", "number"), ("Share", "number")]
    rows = [
        element(
            "tr",
            element("th", one.day, scope="row"),
            element("td", f"{one.judged:,}", class_="number"),
            element("td", f"{one.waiting:,}", class_="number"),
            element("td", one.share, class_="number bad" if one.waiting else "number"),
        )
        for one in seen
    ]
    return element(
        "section",
        element("h2", "Day by day"),
        bars(trend),
        element(
            "table",
            element("thead", element("tr", [element("th", name, scope="col", class_=kind) for name, kind in headings])),
            element("tbody", rows),
            class_="days",
        ),
        aria_label="Day by day",
    )
