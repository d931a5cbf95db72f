-- Every line of a batch as received: its envelope read once, its times corrected for a wrong device clock.
-- grain: one line of one landing segment
with lines as (
    select l.segment_no, l.line_no, l.line
    from landed_lines as l
    anti join line_faults as f on l.segment_no = f.segment_no and l.line_no = f.line_no
),
read as (
    select
        segment_no,
        line_no,
        rtrim(line, chr(10) || chr(13)) as payload,
        json_transform(line, '{"type": "JSON", "event": "JSON", "name": "JSON", "messageId": "JSON", "userId": "JSON",
            "anonymousId": "JSON", "previousId": "JSON", "groupId": "JSON", "timestamp": "JSON",
            "originalTimestamp": "JSON", "sentAt": "JSON", "receivedAt": "JSON", "properties": "JSON",
            "traits": "JSON", "context": "JSON"}') as e
    from lines
),
texts as (
    select
        segment_no,
        line_no,
        payload,
        e,
        case when starts_with(e.type, '"') then e.type->>'$' end as event_type,
        case when starts_with(e.event, '"') then e.event->>'$' end as event_text,
        case when starts_with(e.name, '"') then e.name->>'$' end as name_text,
        nullif(case when starts_with(e."messageId", '"') then e."messageId"->>'$' end, '') as message_text,
        nullif(case when starts_with(e."userId", '"') then e."userId"->>'$' end, '') as user_id,
        nullif(case when starts_with(e."anonymousId", '"') then e."anonymousId"->>'$' end, '') as anonymous_id,
        substr(e."timestamp", 2, length(e."timestamp") - 2) as timestamp_text,
        substr(e."originalTimestamp", 2, length(e."originalTimestamp") - 2) as original_text,
        substr(e."sentAt", 2, length(e."sentAt") - 2) as sent_text,
        substr(e."receivedAt", 2, length(e."receivedAt") - 2) as received_text
    from read
),
times as (
    select
        *,
        case when regexp_full_match(timestamp_text, $instant_pattern)
            then try_cast(timestamp_text as timestamp) end as stated_at,
        case when regexp_full_match(original_text, $instant_pattern)
            then try_cast(original_text as timestamp) end as original_at,
        case when regexp_full_match(sent_text, $instant_pattern)
            then try_cast(sent_text as timestamp) end as sent_at,
        case when regexp_full_match(received_text, $instant_pattern)
            then try_cast(received_text as timestamp) end as claimed_received_at
    from texts
),
judged as (
    select
        *,
        case
            when event_type is null
                or event_type not in ('identify', 'track', 'page', 'screen', 'group', 'alias') then 'unknown_type'
            when not (coalesce(starts_with(e."messageId", '"'), true) and coalesce(starts_with(e."userId", '"'), true)
                and coalesce(starts_with(e."anonymousId", '"'), true)
                and coalesce(starts_with(e."previousId", '"'), true)
                and coalesce(starts_with(e."groupId", '"'), true) and coalesce(starts_with(e.event, '"'), true)
                and coalesce(starts_with(e.properties, '{'), true) and coalesce(starts_with(e.traits, '{'), true)
                and coalesce(starts_with(e.context, '{'), true))
                or length(message_text) > 100 then 'invalid_envelope'
            when event_type = 'track' and coalesce(event_text, '') = '' then 'missing_event_name'
            when user_id is null and anonymous_id is null then 'no_identifier'
            when (e."timestamp" is not null and stated_at is null)
                or (e."originalTimestamp" is not null and original_at is null)
                or (e."sentAt" is not null and sent_at is null)
                or (e."receivedAt" is not null and claimed_received_at is null) then 'invalid_time'
        end as fault
    from times
),
sound as (
    select segment_no, line_no, payload, event_type,
        case when event_type in ('page', 'screen') then name_text else event_text end as event_name,
        message_text, user_id, anonymous_id, stated_at, original_at, sent_at, claimed_received_at, fault,
        case when contains(e.context, '"protocols"')
            then e.context->>'$.protocols.event_version' end as event_version,
        e.properties as properties, e.traits as traits, e.context as context
    from judged
    union all
    select segment_no, line_no, null, null, null, null, null, null, null, null, null, null, reason, null, null, null, null
    from line_faults
    where reason is not null
)
select
    s.segment_no * 4294967296 + s.line_no as ordinal,
    g.segment_id || ':' || lpad(s.line_no::varchar, 7, '0') as event_id,
    g.source,
    g.landed_at,
    s.event_type,
    s.event_name,
    coalesce(s.message_text, 'line:' || g.segment_id || ':' || lpad(s.line_no::varchar, 7, '0')) as message_id,
    s.user_id,
    s.anonymous_id,
    s.event_version,
    case when s.original_at is not null and s.sent_at is not null
        then coalesce(s.claimed_received_at, g.landed_at) - (s.sent_at - s.original_at)
        else coalesce(s.stated_at, s.original_at, s.claimed_received_at, g.landed_at) end as occurred_at,
    coalesce(s.claimed_received_at, g.landed_at) as received_at,
    s.fault,
    s.properties,
    s.traits,
    s.context,
    s.payload
from sound as s
join segments as g on s.segment_no = g.segment_no
