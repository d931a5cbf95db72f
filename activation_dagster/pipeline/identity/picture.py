"""The graph of a person as a picture: profiles left, identifiers right, and each link between them with its reason."""

from __future__ import annotations

from activation_dagster.domain.links import LinkDecision
from activation_dagster.pipeline.identity.graph import PersonGraph, ToldLink
from activation_dagster.registry.html_elements import Html, element

WIDTH, ROW, TOP = 960, 46, 60
LEFT, RIGHT = 250, 660
COLOURS = {
    LinkDecision.ACCEPTED: "#2a7a3b",
    LinkDecision.REFUSED: "#b36b00",
    LinkDecision.BLOCKED: "#777777",
    LinkDecision.CONFLICT: "#b3261e",
}
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:75rem}"
    "td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}svg{max-width:100%}"
)


def as_svg(graph: PersonGraph) -> str:
    """The picture as an SVG document of its own, 960 wide, a row an identifier."""
    holding = tuple(link for link in graph.links if not link.ended)
    profiles = [one.profile_id for one in graph.profiles]
    others = sorted(
        {
            profile
            for link in holding
            for profile in (link.profile_id, link.other_profile_id)
            if profile and profile not in profiles
        }
    )
    left = [*profiles, *others]
    right = list(
        dict.fromkeys(
            [(one.kind, one.identifier) for one in graph.identifiers] + [(one.kind, one.identifier) for one in holding]
        )
    )
    shared = {(one.kind, one.identifier) for one in graph.identifiers if one.shared_since}
    height = TOP + ROW * max(len(left), len(right), 1) + 20
    left_at = {profile: TOP + ROW * number for number, profile in enumerate(left)}
    right_at = {identifier: TOP + ROW * number for number, identifier in enumerate(right)}
    drawn = [
        _text(LEFT, 28, "profiles", anchor="end", weight="bold"),
        _text(RIGHT, 28, "identifiers", weight="bold"),
        *(
            _redirect(left_at, move.from_profile, move.to_profile)
            for move in graph.redirects
            if move.to_profile in left_at
        ),
        *(_line(link, left_at, right_at) for link in _each_once(holding) if link.profile_id),
    ]
    for profile, y in left_at.items():
        now = " (today)" if profile == graph.profile_id else "" if profile in profiles else " (another person)"
        drawn.append(_text(LEFT, y + 5, profile[:13] + now, anchor="end"))
    for (kind, identifier), y in right_at.items():
        is_shared = (kind, identifier) in shared
        drawn.append(_text(RIGHT, y + 5, f"{kind} {identifier}{' (shared)' if is_shared else ''}"))
    return element(
        "svg",
        element("title", f"The identity graph of {graph.profile_id}"),
        drawn,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height}",
        width=str(WIDTH),
        height=str(height),
        font_family="system-ui, sans-serif",
        font_size="14",
    )


def as_html(graph: PersonGraph) -> str:
    """The picture with the ledger below it, as a page that needs nothing else."""
    head = ("decision", "identifier", "profile", "other profile", "event", "why")
    rows = [
        element(
            "tr",
            element("td", link.decision.value, style=f"color:{COLOURS[link.decision]}"),
            element("td", f"{link.kind} {link.identifier}"),
            [element("td", said) for said in (link.profile_id[:13], link.other_profile_id[:13], link.event_id)],
            element("td", f"{link.reason}: {link.why}" if link.reason else link.why),
        )
        for link in graph.links
    ]
    more = graph.link_count - len(graph.links)
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("title", f"Profile {graph.profile_id}"),
            element("style", Html(STYLE)),
        ),
        element(
            "body",
            element("h1", f"Profile {graph.profile_id}"),
            Html(as_svg(graph)),
            element("table", element("tr", [element("th", one) for one in head]), rows),
            element("p", f"{more:,} more links are not shown.") if more else None,
        ),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


def _each_once(links: tuple[ToldLink, ...]) -> list[ToldLink]:
    """One line for links that would lie on one another; what is there goes before what was left out later."""
    found: dict[tuple[str, str, str], ToldLink] = {}
    for link in links:
        known = found.setdefault((link.kind, link.identifier, link.profile_id), link)
        if link.decision is LinkDecision.ACCEPTED and known.decision is not LinkDecision.ACCEPTED:
            found[link.kind, link.identifier, link.profile_id] = link
    return list(found.values())


def _line(link: ToldLink, left_at: dict[str, int], right_at: dict[tuple[str, str], int]) -> Html:
    colour = COLOURS[link.decision]
    y1, y2 = left_at[link.profile_id], right_at[link.kind, link.identifier]
    stroke = element(
        "line",
        element("title", f"{link.decision.value} {link.reason} by {link.event_id}".replace("  ", " ")),
        x1=str(LEFT + 8),
        y1=str(y1),
        x2=str(RIGHT - 8),
        y2=str(y2),
        stroke=colour,
        stroke_width="2",
        stroke_dasharray="none" if link.decision is LinkDecision.ACCEPTED else "6 4",
    )
    if not link.reason:
        return stroke
    said = _text(
        (3 * LEFT + RIGHT) // 4, (3 * y1 + y2) // 4 - 5, link.reason, anchor="middle", colour=colour, size="12"
    )
    return element("g", stroke, said)


def _redirect(left_at: dict[str, int], loser: str, winner: str) -> Html:
    y1, y2 = left_at[loser], left_at[winner]
    return element(
        "path",
        element("title", f"{loser} became {winner}"),
        d=f"M 60 {y1} C 10 {y1} 10 {y2} 60 {y2}",
        fill="none",
        stroke="#555555",
        stroke_dasharray="2 3",
    )


def _text(
    x: int,
    y: int,
    said: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    colour: str = "#1b1b1b",
    size: str = "14",
) -> Html:
    return element(
        "text", said, x=str(x), y=str(y), text_anchor=anchor, font_weight=weight, fill=colour, font_size=size
    )
