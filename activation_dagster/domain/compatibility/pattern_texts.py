"""Texts that a pattern matches, for the everyday part of its language; who uses one holds it against the pattern."""

from __future__ import annotations

from collections.abc import Iterator

_CLASSES = {
    "d": "0",
    "w": "a",
    "s": " ",
    "D": "a",
    "W": "-",
    "S": "a",
    "t": "\t",
    "n": "\n",
    "r": "\r",
    "b": "",
    "B": "",
}
_ORDINARY = "a0A_-. @/:"
_MOST_REPEATS = 2_000
_LONGEST = 20_000


class _NotRead(Exception):
    """A part of the language that is not read here."""


class _Reader:
    """Reads a pattern from left to right and writes the shortest text for each part of it, or a longer one."""

    def __init__(self, pattern: str, *, more: int) -> None:
        self.pattern = pattern
        self.place = 0
        self.more = more

    def peek(self) -> str:
        return self.pattern[self.place] if self.place < len(self.pattern) else ""

    def take(self) -> str:
        found = self.peek()
        if not found:
            raise _NotRead
        self.place += 1
        return found

    def alternatives(self) -> str:
        """The text of the first alternative; the others are read over."""
        found = self.sequence()
        while self.peek() == "|":
            self.take()
            self.sequence()
        return found

    def sequence(self) -> str:
        found = ""
        while self.peek() not in ("", "|", ")"):
            part = self.atom()
            times = self.times()
            if len(found) + len(part) * times > _LONGEST:
                raise _NotRead
            found += part * times
        return found

    def atom(self) -> str:
        match self.take():
            case "^" | "$":
                return ""
            case ".":
                return "a"
            case "\\":
                return self.escaped()
            case "[":
                return self.one_of()
            case "(":
                return self.group()
            case "*" | "+" | "?" | "{":
                raise _NotRead
            case plain:
                return plain

    def escaped(self) -> str:
        found = self.take()
        if found.isalnum() and found not in _CLASSES:
            raise _NotRead
        return _CLASSES.get(found, found)

    def group(self) -> str:
        if self.peek() == "?":
            self.take()
            if self.take() != ":":
                raise _NotRead
        found = self.alternatives()
        if self.take() != ")":
            raise _NotRead
        return found

    def one_of(self) -> str:
        """One character of a class; for one that excludes, an ordinary character that it does not name."""
        is_excluding = self.peek() == "^"
        if is_excluding:
            self.take()
        named: list[str] = []
        ranges: list[tuple[str, str]] = []
        while (found := self.take()) != "]" or not (named or ranges):
            if found == "\\":
                found = self.escaped()
            if self.peek() == "-" and self.pattern[self.place + 1 : self.place + 2] not in ("]", ""):
                self.take()
                ranges.append((found, self.take()))
            else:
                named.append(found)
        if not is_excluding:
            return ranges[0][0] if ranges else named[0]
        free = [c for c in _ORDINARY if c not in named and not any(low <= c <= high for low, high in ranges)]
        if not free:
            raise _NotRead
        return free[0]

    def times(self) -> int:
        """How often the part before is written: as seldom as may be, and so many times more where it may be."""
        match self.peek():
            case "*" | "+" | "?" as sign:
                self.take()
                least, most = {"*": (0, _MOST_REPEATS), "+": (1, _MOST_REPEATS), "?": (0, 1)}[sign]
            case "{":
                end = self.pattern.find("}", self.place)
                bounds = self.pattern[self.place + 1 : end].split(",")
                if end < 0 or not bounds[0].isdecimal() or not all(bound.isdecimal() or not bound for bound in bounds):
                    raise _NotRead
                self.place = end + 1
                least = int(bounds[0])
                most = _MOST_REPEATS if bounds[-1] == "" else int(bounds[-1])
            case _:
                return 1
        if self.peek() == "?":
            self.take()
        return min(least + self.more, most, max(least, _MOST_REPEATS))


def texts_like(pattern: str) -> Iterator[str]:
    """A few texts that a pattern probably matches, shortest first; none where it is not read here."""
    for more in (0, 1, 3, 12):
        reader = _Reader(pattern, more=more)
        try:
            found = reader.alternatives()
        except _NotRead:
            return
        if reader.place < len(pattern):
            return
        yield found
