-- Every line of a batch as received: its envelope read once, its times corrected for a wrong device clock.
-- grain: one line of one landing segment
with lines as (
    select l.segment_no, l.line_no, l.line, o.line_no is not null as is_odd
    from landed_lines as l
    anti join line_faults as f on l.segment_no = f.segment_no and l.line_no = f.line_no
    left join odd_lines as o on l.segment_no = o.segment_no and l.line_no = o.line_no
),
read as (
    select
        segment_no,
        line_no,
        case when ends_with(line, chr(10)) then left(line, -1) else line end as payload,
        json_transform(line, '{"type": "VARCHAR", "event": "VARCHAR", "name": "VARCHAR", "messageId": "VARCHAR",
            "userId": "VARCHAR", "anonymousId": "VARCHAR", "timestamp": "VARCHAR", "originalTimestamp": "VARCHAR",
            "sentAt": "VARCHAR", "receivedAt": "VARCHAR", "properties": "JSON", "traits": "JSON",
            "context": "JSON"}') as e,
        case when is_odd then json_type(line, ['type', 'messageId', 'userId', 'anonymousId', 'previousId', 'groupId',
            'event']) end as text_types,
        case when is_odd then json_type(line, ['timestamp', 'originalTimestamp', 'sentAt', 'receivedAt']) end
            as time_types
    from lines
),
times as (
    select
        * exclude (e),
        e.type as event_type,
        e.event as event_text,
        e.name as name_text,
        nullif(e."messageId", '') as message_text,
        nullif(e."userId", '') as user_id,
        nullif(e."anonymousId", '') as anonymous_id,
        e."timestamp" as stated_text,
        e."originalTimestamp" as original_text,
        e."sentAt" as sent_text,
        e."receivedAt" as received_text,
        case when translate(e."timestamp", '123456789', '000000000') = '0000-00-00T00:00:00.000Z'
                then case when substr(e."timestamp", 1, 2) in ('19', '20', '21') and substr(e."timestamp", 12, 2) < '24'
                    then try_cast(e."timestamp" as timestamp) end
            when regexp_full_match(e."timestamp", $instant_pattern)
                then try_cast(e."timestamp" as timestamptz) at time zone 'UTC' end as stated_at,
        case when translate(e."originalTimestamp", '123456789', '000000000') = '0000-00-00T00:00:00.000Z'
                then case when substr(e."originalTimestamp", 1, 2) in ('19', '20', '21') and substr(e."originalTimestamp", 12, 2) < '24'
                    then try_cast(e."originalTimestamp" as timestamp) end
            when regexp_full_match(e."originalTimestamp", $instant_pattern)
                then try_cast(e."originalTimestamp" as timestamptz) at time zone 'UTC' end as original_at,
        case when translate(e."sentAt", '123456789', '000000000') = '0000-00-00T00:00:00.000Z'
                then case when substr(e."sentAt", 1, 2) in ('19', '20', '21') and substr(e."sentAt", 12, 2) < '24'
                    then try_cast(e."sentAt" as timestamp) end
            when regexp_full_match(e."sentAt", $instant_pattern)
                then try_cast(e."sentAt" as timestamptz) at time zone 'UTC' end as sent_at,
        case when translate(e."receivedAt", '123456789', '000000000') = '0000-00-00T00:00:00.000Z'
                then case when substr(e."receivedAt", 1, 2) in ('19', '20', '21') and substr(e."receivedAt", 12, 2) < '24'
                    then try_cast(e."receivedAt" as timestamp) end
            when regexp_full_match(e."receivedAt", $instant_pattern)
                then try_cast(e."receivedAt" as timestamptz) at time zone 'UTC' end as claimed_received_at,
        e.properties as properties,
        e.traits as traits,
        e.context as context
    from read
),
judged as (
    select
        *,
        case
            when event_type is null
                or event_type not in ('identify', 'track', 'page', 'screen', 'group', 'alias') then 'unknown_type'
            when text_types is not null and list_has_any(text_types, ['BOOLEAN', 'UBIGINT', 'BIGINT', 'HUGEINT', 'DOUBLE', 'ARRAY', 'OBJECT'])
                or not coalesce(starts_with(properties, '{'), true) or not coalesce(starts_with(traits, '{'), true)
                or not coalesce(starts_with(context, '{'), true)
                or length(message_text) > 100 then 'invalid_envelope'
            when event_type = 'track' and coalesce(event_text, '') = '' then 'missing_event_name'
            when user_id is null and anonymous_id is null then 'no_identifier'
            when (time_types is not null and list_has_any(time_types, ['BOOLEAN', 'UBIGINT', 'BIGINT', 'HUGEINT', 'DOUBLE', 'ARRAY', 'OBJECT']))
                or (stated_text is not null and stated_at is null)
                or (original_text is not null and original_at is null)
                or (sent_text is not null and sent_at is null)
                or (received_text is not null and claimed_received_at is null) then 'invalid_time'
        end as fault
    from times
),
sound as (
    select
        segment_no, line_no, payload, event_type,
        case when event_type in ('page', 'screen') then name_text else event_text end as event_name,
        case when text_types is null or text_types[2] = 'VARCHAR' then message_text end as message_text,
        user_id, anonymous_id, stated_at, original_at, sent_at, claimed_received_at, fault,
        case when contains(context, '"protocols"') then context->>'$.protocols.event_version' end as event_version,
        properties, traits, context
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
