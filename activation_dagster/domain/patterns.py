"""Patterns of contracts: the part of regular expressions that Python, DuckDB (RE2) and JSON Schema read alike.

A pattern is held against the whole text, so it has no anchors. Written may be: characters as they are; `.` (any but a
line feed); `[...]` and `[^...]` with characters and ranges; groups `(...)` and `(?:...)`; `|`; `*`, `+`, `?`, `{n}`,
`{n,}`, `{n,m}`; and a backslash before one of `\\ ^ $ . * + ? ( ) [ ] { } | / -`. Classes such as `\\d` and `\\w` are
left out, because what they hold beyond ASCII differs; flags, look-around and back references, because RE2 has none.
"""

from __future__ import annotations

import re

MAX_PATTERN = 500
MAX_REPEATS = 1_000
"""What RE2 takes, repetitions inside repetitions multiplied."""

_COUNT = re.compile(r"\{([0-9]{1,4})(,([0-9]{0,4}))?\}")
_ESCAPED = frozenset("\\^$.*+?()[]{}|/-")
_INSIDE = {"[": "[", "&": "&&", "~": "~~", "|": "||", "-": "--"}
"""Characters of a class that some reader takes for a set operation: `[` always, the others when doubled."""


class _NotPortable(Exception):
    """What cannot be written, in words."""


class _Reader:
    """Reads a pattern once, from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def sees(self, what: str) -> bool:
        return self.text.startswith(what, self.at)

    def choices(self) -> int:
        """Alternatives up to a closing bracket or the end; the largest product of repetitions inside."""
        largest = 1
        while self.at < len(self.text) and not self.sees(")"):
            if self.sees("|"):
                self.at += 1
                continue
            largest = max(largest, self.repeated())
        return largest

    def repeated(self) -> int:
        """One atom and how often it stands."""
        inside = self.atom()
        counted = _COUNT.match(self.text, self.at)
        if counted is not None:
            self.at = counted.end()
            low, high = int(counted[1]), int(counted[3] or counted[1])
            if high < low:
                raise _NotPortable(f"'{counted[0]}' counts downwards")
            inside *= max(low, high, 1)
        elif self.at < len(self.text) and self.text[self.at] in "*+?":
            self.at += 1
        else:
            return inside
        if self.at < len(self.text) and (self.text[self.at] in "*+?" or _COUNT.match(self.text, self.at)):
            raise _NotPortable("one repetition follows another")
        return inside

    def atom(self) -> int:
        character = self.text[self.at]
        if character == "(":
            return self.group()
        if character == "[":
            self.character_class()
        elif character == "\\":
            self.escaped("outside a class '-'" if self.text[self.at + 1 : self.at + 2] == "-" else "")
        elif character in "^$":
            raise _NotPortable(f"'{character}' anchors, and the whole text must fit anyway")
        elif character in "*+?{}]":
            raise _NotPortable(f"'{character}' stands where nothing can be repeated; write a backslash before it")
        else:
            self.at += 1
        return 1

    def group(self) -> int:
        self.at += 1
        if self.sees("?"):
            if not self.sees("?:"):
                raise _NotPortable("'(?' begins what only some readers know; only '(?:' may be written")
            self.at += 2
        inside = self.choices()
        if not self.sees(")"):
            raise _NotPortable("a bracket is not closed")
        self.at += 1
        return inside

    def escaped(self, fault: str = "") -> str:
        after = self.text[self.at + 1 : self.at + 2]
        if fault or after not in _ESCAPED or not after:
            raise _NotPortable(f"'\\{after}' is not read alike everywhere; write the characters themselves")
        self.at += 2
        return after

    def character_class(self) -> None:
        self.at += 2 if self.sees("[^") else 1
        if self.sees("]"):
            raise _NotPortable("a class is empty")
        begin = self.at
        while not self.sees("]"):
            if self.sees("-") and self.at > begin and not self.sees("-]"):
                raise _NotPortable("'-' stands in the middle of a class; write a backslash before it")
            first = self.member()
            if self.sees("-") and not self.sees("-]"):
                self.at += 1
                last = self.member()
                if last < first:
                    raise _NotPortable(f"the range '{first}-{last}' counts downwards")
        self.at += 1

    def member(self) -> str:
        if self.at >= len(self.text):
            raise _NotPortable("a class is not closed")
        character = self.text[self.at]
        if character == "\\":
            return self.escaped()
        if self.sees(_INSIDE.get(character, "\x00")) or character == "^":
            raise _NotPortable(f"'{character}' inside a class may mean more than itself; write a backslash before it")
        self.at += 1
        return character


def fault_of_pattern(pattern: str) -> str | None:
    """Why a pattern cannot be used, in words, or None when every judge reads it alike."""
    if len(pattern) > MAX_PATTERN:
        return f"it is longer than {MAX_PATTERN} characters"
    if any(character < " " or character == "\x7f" for character in pattern):
        return "it holds a control character"
    reader = _Reader(pattern)
    try:
        largest = reader.choices()
    except _NotPortable as fault:
        return str(fault)
    if reader.at < len(pattern):
        return "a bracket is closed that was not opened"
    if largest > MAX_REPEATS:
        return f"it repeats more than {MAX_REPEATS:,} times"
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    return None
