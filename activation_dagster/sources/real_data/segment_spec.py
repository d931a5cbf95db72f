"""How a row becomes a Segment-spec event in SQL: the small words that both converters are written in.

Every event carries context.converter = {"dataset", "row", "derived"}: `derived` names each field whose value is NOT
in the source (a deterministic id, a time that the source gives only as a date, ...). Everything else is a value of
the source, renamed; what the source lacks is left out, never filled.
"""

from __future__ import annotations

# A source's relation has these columns: `source`, `person` (the whole of whom is taken or left), `seq` (the order of
# events with one time), `happened_at` and `received_at` (naive UTC, as in the source), and the JSON text before and
# after the times: `head` ends with a comma, `tail` begins with one.
WORDS = r"""
create macro said(key, value) as '"' || key || '":' || value;
create macro text_value(value) as to_json(value)::varchar;
create macro yes_no(value) as if(value, 'true', 'false');

-- 6.0 is written 6, and 2.550 is written 2.55; the text of a number is otherwise the shortest that gives it back.
create macro number_value(value) as
    if(value::double = floor(value::double), value::double::bigint::varchar, value::double::varchar);

-- The same row gives the same id on every run and machine; chr(31) separates what must not run together.
create macro message_id(dataset, call, event_name, message_key) as
    sha256(concat_ws(chr(31), dataset, call, event_name, message_key))[:32];

create macro head(call, event_name, id, user_id, anonymous_id) as '{' || concat_ws(',',
    said('type', text_value(call)),
    said('event', text_value(nullif(event_name, ''))),
    said('messageId', text_value(id)),
    said('userId', text_value(user_id)),
    said('anonymousId', text_value(anonymous_id))) || ',';

create macro tail(what, fields, context, dataset, row_name, derived) as ',"' || what || '":{' || fields || '},' ||
    '"context":{' || concat_ws(',',
        '"library":{"name":"realdata-converter","version":"1.0"}',
        context,
        '"converter":{"dataset":"' || dataset || '","row":' || text_value(row_name) ||
            ',"derived":' || to_json(list_prepend('messageId', derived))::varchar || '}') || '}}';

create macro instant(moment) as strftime(moment, '%Y-%m-%dT%H:%M:%S.%gZ');
"""
