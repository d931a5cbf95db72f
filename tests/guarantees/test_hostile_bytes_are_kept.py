"""Promise 2, byte for byte: what is no sound JSON text waits with the bytes that came, whatever they are.

Each kind is named, and lines that were mutated at any byte are drawn; all go from landing through every phase.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from activation_dagster.domain.lexical import MAX_DEPTH, MAX_LINE_BYTES, read_event
from activation_dagster.domain.reasons import QuarantineReason as Reason
from tests.destinations.far_end import FarEnd
from tests.guarantees.events import identify, purchase, written
from tests.guarantees.shop import NOW, Shop, every_event_is_in_one_place, far_end_in
from tests.sql.test_ingest_agrees import insertions, mutated

LINE = written(purchase("m", at=NOW - timedelta(days=1), user="ann"))[0]


def said(value: bytes) -> bytes:
    """A good line with other bytes where its product stands as a text."""
    assert b'"SKU-1"' in LINE
    return LINE.replace(b'"SKU-1"', value)


def nested(opened: bytes, closed: bytes, depth: int) -> bytes:
    return said(opened * depth + b"1" + closed * depth)


HOSTILE: dict[str, tuple[bytes, Reason]] = {
    **{f"truncated after {at} of its bytes": (LINE[:at], Reason.NOT_JSON) for at in (1, 2, 9, 40, len(LINE) - 1)},
    "truncated inside an escape": (said(b'"a\\u00')[:-60], Reason.NOT_JSON),
    "nothing but an opened text": (b'"', Reason.NOT_JSON),
    "a comma too many": (said(b'"a",'), Reason.NOT_JSON),
    "a comma before the end": (LINE[:-1] + b",}", Reason.NOT_JSON),
    "something after the end": (LINE + b"x", Reason.NOT_JSON),
    "two events on a line": (LINE + LINE, Reason.NOT_JSON),
    "single quotes": (said(b"'a'"), Reason.NOT_JSON),
    "a key without quotes": (said(b'{a: "b"}'), Reason.NOT_JSON),
    "a comment": (said(b'"a" /* b */'), Reason.NOT_JSON),
    "a number with a leading zero": (said(b"01"), Reason.NOT_JSON),
    "a number that ends with a dot": (said(b"1."), Reason.NOT_JSON),
    "a number with a plus": (said(b"+1"), Reason.NOT_JSON),
    "a hexadecimal number": (said(b"0x10"), Reason.NOT_JSON),
    "another spelling of true": (said(b"True"), Reason.NOT_JSON),
    "deep lists": (nested(b"[", b"]", MAX_DEPTH + 1), Reason.TOO_DEEP),
    "deep objects": (nested(b'{"a":', b"}", MAX_DEPTH + 1), Reason.TOO_DEEP),
    "very deep lists": (nested(b"[", b"]", 100_000), Reason.TOO_DEEP),
    "very deep objects": (nested(b'{"a":', b"}", 60_000), Reason.TOO_DEEP),
    "very deep lists that never end": (b"[" * 200_000, Reason.TOO_DEEP),
    "a byte that is none of UTF-8": (said(b'"\xff"'), Reason.NOT_UTF8),
    "Latin 1": (said(b'"M\xfcsli"'), Reason.NOT_UTF8),
    "half of a character": (said(b'"\xf0\x9f\x98"'), Reason.NOT_UTF8),
    "a surrogate as bytes": (said(b'"\xed\xa0\xbd"'), Reason.NOT_UTF8),
    "an overlong NUL": (said(b'"\xc0\x80"'), Reason.NOT_UTF8),
    "beyond Unicode": (said(b'"\xf4\x90\x80\x80"'), Reason.NOT_UTF8),
    "UTF-16": (LINE.decode().encode("utf-16").replace(b"\n", b""), Reason.NOT_UTF8),
    "a byte order mark": (b"\xef\xbb\xbf" + LINE, Reason.NOT_JSON),
    "nothing but a byte order mark": (b"\xef\xbb\xbf", Reason.NOT_JSON),
    "a byte order mark at the end": (LINE + b"\xef\xbb\xbf", Reason.NOT_JSON),
    "a control character": (said(b'"a\x01b"'), Reason.NOT_JSON),
    "a tab in a text": (said(b'"a\tb"'), Reason.NOT_JSON),
    "a carriage return in a text": (said(b'"a\rb"'), Reason.NOT_JSON),
    "a vertical tab between": (said(b'\x0b"a"'), Reason.NOT_JSON),
    "a NUL byte in a text": (said(b'"a\x00b"'), Reason.NOT_JSON),
    "a NUL byte at the end": (LINE + b"\x00", Reason.NOT_JSON),
    "nothing but NUL bytes": (b"\x00" * 4_096, Reason.NOT_JSON),
    "an escaped NUL": (said(b'"a\\u0000b"'), Reason.NUL_CHARACTER),
    "an escaped NUL in a key": (said(b'{"a\\u0000": 1}'), Reason.NUL_CHARACTER),
    "a text of 10 MB": (said(b'"' + b"a" * 10_000_000 + b'"'), Reason.TOO_LARGE),
    "a key of 10 MB": (said(b'{"' + b"a" * 10_000_000 + b'": 1}'), Reason.TOO_LARGE),
    "10 MB of blanks": (LINE + b" " * 10_000_000, Reason.TOO_LARGE),
    "a byte too many": (LINE + b" " * (MAX_LINE_BYTES + 1 - len(LINE)), Reason.TOO_LARGE),
    "a key twice": (said(b'{"a": 1, "a": 1}'), Reason.DUPLICATE_KEY),
    "a key twice, once escaped": (said(b'{"a": 1, "\\u0061": 2}'), Reason.DUPLICATE_KEY),
    "a key of the envelope twice": (LINE[:-1] + b', "userId": "bob"}', Reason.DUPLICATE_KEY),
    "a number of 20 digits": (said(b"12345678901234567890"), Reason.NUMBER_OUT_OF_RANGE),
    "a number that a double rounds": (said(b"9007199254740993"), Reason.NUMBER_OUT_OF_RANGE),
    "a number of 10,000 digits": (said(b"9" * 10_000), Reason.NUMBER_OUT_OF_RANGE),
    "a number beyond a double": (said(b"-1e400"), Reason.NUMBER_OUT_OF_RANGE),
    "half a surrogate pair": (said(b'"\\ud83d"'), Reason.LONE_SURROGATE),
    "a surrogate pair the wrong way round": (said(b'"\\ude00\\ud83d"'), Reason.LONE_SURROGATE),
    "half a surrogate pair in a key": (said(b'{"\\udc00": 1}'), Reason.LONE_SURROGATE),
    **{f"the number {word.decode()}": (said(word), Reason.NOT_JSON)
       for word in (b"NaN", b"nan", b"Infinity", b"-Infinity", b"inf", b"-inf")},
    "a text": (b'"text"', Reason.NOT_AN_OBJECT),
    "a list of events": (b"[" + LINE + b"]", Reason.NOT_AN_OBJECT),
    "null": (b"null", Reason.NOT_AN_OBJECT),
}  # fmt: skip
"""Every kind of malformed text that we can name, and why it waits."""

LEXICAL = {reason.value for _, reason in HOSTILE.values()}


@pytest.fixture(scope="module")
def far_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarEnd]:
    with far_end_in(tmp_path_factory.mktemp("far_end")) as running:
        yield running


@pytest.fixture(scope="module")
def other_shop(tmp_path_factory: pytest.TempPathFactory, far_end: FarEnd) -> Shop:
    """A shop without texts of 10 MB: all of its lake is read for each example."""
    return Shop(folder=tmp_path_factory.mktemp("other_shop"), address=far_end.address, batch_max_bytes=1 << 30)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, far_end: FarEnd) -> Shop:
    return Shop(folder=tmp_path_factory.mktemp("shop"), address=far_end.address, batch_max_bytes=1 << 30)


numbers = itertools.count()


def landed(shop: Shop, content: bytes, *, compressed: bool) -> dict[str, tuple[str, bytes | None]]:
    """Land bytes as they are and work them: of each event where it is, its reason or `accepted`, and its bytes."""
    import gzip

    place = next(numbers)
    segment = shop.land([b"{}"], at=NOW + timedelta(milliseconds=place), compressed=compressed)
    with shop.places() as places:  # a sender's bytes are not ours to end lines in
        places.landing.path_of(segment).write_bytes(gzip.compress(content) if compressed else content)
    shop.work()
    lake = shop.lake()
    every_event_is_in_one_place(shop, lake)
    ours = f"{segment.segment_id}:"
    payloads = {row["event_id"]: row["payload"] for row in lake["ingested_events"] if row["payload"] is not None}
    found: dict[str, tuple[str, bytes | None]] = {}
    for row in lake["quarantined_events"]:
        found[row["event_id"]] = (row["reason"], row["payload"])
    for name in ("validated_events", "duplicate_events"):
        for row in lake[name]:
            found[row["event_id"]] = ("accepted", payloads[row["event_id"]].encode())
    return {event_id.rpartition(":")[2]: became for event_id, became in found.items() if event_id.startswith(ours)}


@pytest.mark.parametrize(("end", "compressed"), [(b"\n", False), (b"\r\n", True)])
def test_each_kind_waits_for_its_reason_with_its_bytes_between_good_lines(
    shop: Shop, end: bytes, compressed: bool
) -> None:
    start = next(numbers)
    lines: list[bytes] = []
    for place, (line, _) in enumerate(HOSTILE.values()):
        good = written(identify(f"g-{start}-{place}", at=NOW - timedelta(days=1), user="eve"))[0]
        lines += [good, line, b"", b" \t"]  # blank lines are no events
    found = landed(shop, end.join(lines), compressed=compressed)
    assert len(found) == 2 * len(HOSTILE)
    for place, (name, (line, reason)) in enumerate(HOSTILE.items()):
        assert found[f"{4 * place + 1:07d}"] == ("accepted", lines[4 * place]), name
        assert found[f"{4 * place + 2:07d}"] == (reason.value, line), name
    assert shop.totals().conserved


@some.composite
def broken(draw: some.DrawFn) -> bytes:
    """A line with something done to it at any byte: flipped, cut out, put in, doubled, or another's end."""
    line = draw(some.sampled_from([LINE, said(b'{"a": [1, {"b": "\xc3\xbc\\u00fc"}]}')]))
    for _ in range(draw(some.integers(1, 3))):
        at, to = sorted((draw(some.integers(0, len(line))), draw(some.integers(0, len(line)))))
        match draw(some.integers(0, 4)):
            case 0:
                flipped = bytes([byte ^ draw(some.integers(1, 255)) for byte in line[at : at + 1]])
                line = line[:at] + flipped + line[at + 1 :]
            case 1:
                line = line[:at] + line[to:]
            case 2:
                line = line[:at] + draw(insertions | some.binary(max_size=4)) + line[at:]
            case 3:
                line = line[:to] + line[at:]
            case _:
                line = line[:at] + LINE[to:]
    return line


lines_to_come = some.lists(
    (broken() | mutated()).filter(lambda line: b"\n" not in line and not line.endswith(b"\r")), min_size=20, max_size=80
)


@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.generate],  # an example costs a second, so a failure is shown as it was found
)
@given(lines_to_come, some.booleans(), some.booleans(), some.booleans())
def test_mutated_lines_are_read_or_wait_with_their_bytes(
    other_shop: Shop, lines: list[bytes], windows: bool, compressed: bool, last_end: bool
) -> None:
    end = b"\r\n" if windows else b"\n"
    found = landed(other_shop, end.join(lines) + (end if last_end else b""), compressed=compressed)
    wanted = {f"{number:07d}": line for number, line in enumerate(lines, start=1) if line.strip()}
    assert found.keys() == wanted.keys()
    for number, line in wanted.items():
        reason, payload = found[number]
        assert payload == line
        plain = read_event(line)
        if isinstance(plain, Reason):
            assert reason == plain.value
        else:
            assert json.loads(line) == plain
            assert reason not in LEXICAL
    assert other_shop.totals().conserved


def test_of_several_carriage_returns_only_the_line_end_is_taken(other_shop: Shop) -> None:
    cut = LINE[:-1]
    found = landed(other_shop, cut + b"\r\r\n" + cut + b"\r", compressed=False)
    assert found == {"0000001": ("not_json", cut + b"\r"), "0000002": ("not_json", cut)}


def test_the_named_kinds_are_what_the_plain_rules_say() -> None:
    assert {name: read_event(line) for name, (line, _) in HOSTILE.items()} == {
        name: reason for name, (_, reason) in HOSTILE.items()
    }


def test_an_empty_segment_and_one_of_blank_lines_hold_no_event(tmp_path: Path, far_end: FarEnd) -> None:
    shop = Shop(folder=tmp_path, address=far_end.address)
    for content in (b"", b"\n", b"\r\n\r\n", b" \t\n\n", b"\n" * 10_000):
        assert landed(shop, content, compressed=False) == {}
    assert (shop.totals().received, shop.totals().conserved) == (0, True)
