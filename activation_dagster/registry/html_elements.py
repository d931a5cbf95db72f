"""HTML whose texts are escaped because they are texts: only what an element made is ever taken as it is."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = frozenset({"meta", "link", "input", "br"})


class Html(str):
    """Text that is HTML already; made by `element` and `join`, and by nobody from what a file says."""

    __slots__ = ()


Child = str | Iterable["Child"] | None


def render(child: Child) -> str:
    """A child as HTML: an element as it is, a text escaped, several one after the other, nothing as nothing."""
    if child is None:
        return ""
    if isinstance(child, Html):
        return str(child)
    if isinstance(child, str):
        return escape(child, quote=True)
    return "".join(render(one) for one in child)


def element(name: str, /, *children: Child, **attributes: str | bool) -> Html:
    """An element; the attribute `class_` is `class`, `data_text` is `data-text`; True has no value, False is none."""
    written = ""
    for key, value in attributes.items():
        word = key.rstrip("_").replace("_", "-")
        if value is True:
            written += f" {word}"
        elif value is not False:
            written += f' {word}="{escape(value, quote=True)}"'
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{render(children)}</{name}>")
