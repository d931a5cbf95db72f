"""A batch's distinct sets of identifiers as numbers: each value is read once, and each identifier has its number."""

from __future__ import annotations

import importlib
from binascii import unhexlify
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from activation_dagster.domain.identifiers import IdentityRules
from activation_dagster.lake.engine import Engine

pc: Any = importlib.import_module("pyarrow.compute")  # whose functions are made when it is imported
csv: Any = importlib.import_module("pyarrow.csv")

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedSets:
    """`identifier_sets` in the order of first arrival; sets and identifiers are numbered from 0.

    `set_no`: of each set its first event's ordinal. `set_of` and `code_of` have an entry for each identifier of each
    set, sorted by set, then priority. `identifiers`: an Arrow table of (kind, value, key), a row an identifier, by
    number. `kind_of`: of each identifier the place of its kind. `is_whole`: of each set whether none of its values
    names nobody. `raws`: an Arrow table of (kind, raw, number), a row a distinct value as it came that names somebody.
    """

    set_no: Numbers
    set_of: Numbers
    code_of: Numbers
    kind_of: Numbers
    is_whole: npt.NDArray[np.bool_]
    identifiers: Any
    raws: Any


def coded_sets(engine: Engine, rules: IdentityRules) -> CodedSets:
    """Read every distinct value of `identifier_sets` by the rules, and number what was read."""
    names = ", ".join(f"id_{kind.name}" for kind in rules.kinds)
    table = engine.connection.execute(f"select set_no, {names} from identifier_sets order by set_no").to_arrow_table()
    sets = table.num_rows
    codes = np.full((sets, len(rules.kinds)), -1, dtype=np.int32)
    is_whole = np.ones(sets, dtype=np.bool_)
    kinds: list[Any] = []
    values: list[Any] = []
    raws: list[Any] = []
    known = 0
    for place, kind in enumerate(rules.kinds):
        raw = pc.dictionary_encode(table.column(place + 1).combine_chunks())
        at = raw.indices.fill_null(len(raw.dictionary)).to_numpy(zero_copy_only=False)
        read = pc.dictionary_encode(pa.array(kind.readings(raw.dictionary.to_pylist()), type=pa.string()))
        number = np.full(len(raw.dictionary) + 1, -1, dtype=np.int32)
        number[:-1] = read.indices.fill_null(-1 - known).to_numpy(zero_copy_only=False) + known
        codes[:, place] = number[at]
        is_whole &= (codes[:, place] >= 0) | (at == len(raw.dictionary))
        known += len(read.dictionary)
        kinds.append(np.full(len(read.dictionary), place, dtype=np.int64))
        values.append(read.dictionary)
        named = np.flatnonzero(number >= 0)
        raws.append(
            pa.table(
                {
                    "kind": pa.repeat(kind.name, len(named)),
                    "raw": raw.dictionary.take(pa.array(named)),
                    "number": pa.array(number[named]),
                }
            )
        )
    set_of, places = np.nonzero(codes >= 0)
    kind_of = np.concatenate(kinds)
    kinds_named = pa.array([kind.name for kind in rules.kinds]).take(pa.array(kind_of))
    identifiers = pa.table({"kind": kinds_named, "value": pa.chunked_array(values, type=pa.string())})
    return CodedSets(
        set_no=table.column(0).to_numpy(),
        set_of=set_of,
        code_of=codes[set_of, places].astype(np.int64),
        kind_of=kind_of,
        is_whole=is_whole,
        identifiers=identifiers.append_column("key", _of_each(engine, identifiers, "unhex(md5(text))")),
        raws=pa.concat_tables(raws),
    )


def profile_ids(engine: Engine, identifiers: Any) -> Any:
    """The profile that each of some identifiers (Arrow: kind, value) makes; `domain.identifiers.profile_id` of many."""
    return _of_each(engine, identifiers, "'p' || left(sha256(text), 24)")


def _of_each(engine: Engine, identifiers: Any, what: str) -> Any:
    """An expression of each identifier's `text`, its kind and value as keys and profile ids derive from them."""
    numbered = identifiers.append_column("number", pa.array(np.arange(identifiers.num_rows)))
    engine.connection.register("asked_identifiers", numbered)
    try:
        return (
            engine.connection.execute(
                f"select {what} from (select number, kind || chr(31) || value as text from asked_identifiers) "
                "order by number"
            )
            .to_arrow_table()
            .column(0)
        )
    finally:
        engine.connection.unregister("asked_identifiers")


def ordered(table: Any, column: str) -> Any:
    """An Arrow table in the order of one column: state takes rows fastest in the order of their key."""
    return table.take(pc.sort_indices(table.column(column)))


def arrivals_of(engine: Engine, set_no: Numbers) -> tuple[Any, Numbers]:
    """(event_id, microseconds of when it happened) of the first events of some sets, by `set_no`, in that order."""
    engine.connection.register("asked_sets", pa.table({"set_no": pa.array(set_no)}))
    try:
        found = engine.connection.execute(
            "select v.event_id, epoch_us(v.occurred_at) from validated_events as v "
            "join asked_sets as a on a.set_no = v.ordinal order by v.ordinal"
        ).to_arrow_table()
    finally:
        engine.connection.unregister("asked_sets")
    return found.column(0), found.column(1).to_numpy()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPeople:
    """What state knows of coded sets. `people`: an Arrow array of today's profiles, by number; `holder_of`: of each
    identifier who has it, or -1; `held`: a row a person, a column a kind, how many identifiers state has of them;
    `owners`: an Arrow array, of each identifier the profile that state has it under, or null."""

    people: Any
    owners: Any
    holder_of: Numbers
    held: Numbers


UNCOUNTED = 1 << 32
"""More identifiers than any limit allows: of who has some of a kind that the contract has no more, and is left to the
exact way."""


def known_people(
    coded: CodedSets, lines: Iterable[str], redirects: Mapping[str, str], kinds: Sequence[str]
) -> KnownPeople:
    """Find the holders of identifiers in texts of many lines, each `key profile kind`; count what they have."""
    parts = [_read_lines(text) for text in lines if text]
    if not parts:
        nobody = np.full(len(coded.kind_of), -1, dtype=np.int64)
        return KnownPeople(
            people=pa.array([], type=pa.string()),
            owners=pa.nulls(len(nobody), pa.string()),
            holder_of=nobody,
            held=np.zeros((0, len(kinds)), dtype=np.int64),
        )
    known = pa.concat_tables(parts)
    profiles = pc.dictionary_encode(known.column("profile").combine_chunks())
    today = pc.dictionary_encode(
        pa.array([redirects.get(one, one) for one in profiles.dictionary.to_pylist()])
        if redirects
        else profiles.dictionary
    )
    owner_of = _numbers(today.indices)[_numbers(profiles.indices)]
    at = pc.index_in(coded.identifiers.column("key"), value_set=known.column("key").combine_chunks())
    place = _numbers(pc.fill_null(at, -1))
    holder_of = np.where(place >= 0, owner_of[place], -1)
    is_asked = np.zeros(len(today.dictionary), dtype=np.bool_)  # of everybody, those that the batch is about
    is_asked[holder_of[holder_of >= 0]] = True
    asked = np.flatnonzero(is_asked)
    number = np.full(len(today.dictionary), -1, dtype=np.int64)
    number[asked] = np.arange(len(asked))
    coded_kinds = pc.dictionary_encode(known.column("kind").combine_chunks())
    names = coded_kinds.dictionary.to_pylist()
    column = np.array([kinds.index(name) if name in kinds else 0 for name in names], dtype=np.int64)
    weight = np.array([1 if name in kinds else UNCOUNTED for name in names], dtype=np.float64)
    kind_at = _numbers(coded_kinds.indices)
    counted = np.flatnonzero(number[owner_of] >= 0)
    held = np.bincount(
        number[owner_of[counted]] * len(kinds) + column[kind_at[counted]],
        weights=weight[kind_at[counted]],
        minlength=len(asked) * len(kinds),
    )
    return KnownPeople(
        people=today.dictionary.take(pa.array(asked)),
        owners=profiles.take(at),
        holder_of=np.where(holder_of >= 0, number[holder_of], -1),
        held=held.astype(np.int64).reshape(len(asked), len(kinds)),
    )


def _read_lines(text: str) -> Any:
    """Lines of `key profile kind` as an Arrow table, the key in bytes."""
    names = ("key", "profile", "kind")
    read = csv.read_csv(
        pa.py_buffer(text.encode()),
        csv.ReadOptions(column_names=names),
        csv.ParseOptions(delimiter=" ", quote_char=False),
        csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    in_hex = read.column("key").combine_chunks()
    # every key has the same length, so that all of them are one text in hex
    in_bytes = pa.py_buffer(unhexlify(in_hex.buffers()[2][: 32 * len(in_hex)]))
    keys = pa.Array.from_buffers(pa.binary(16), len(in_hex), [None, in_bytes])
    return read.set_column(0, "key", keys.cast(pa.binary()))


def _numbers(values: Any) -> Numbers:
    return values.to_numpy().astype(np.int64)
