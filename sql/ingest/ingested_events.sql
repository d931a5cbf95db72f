-- Every line of a batch as received: its envelope read once, its times corrected for a wrong device clock.
-- grain: one line of one landing segment
with lines as (
    select l.segment_no * 4294967296 + l.line_no as ordinal, l.line
    from landed_lines as l
    anti join line_faults as f
        on l.segment_no * 4294967296 + l.line_no = f.segment_no * 4294967296 + f.line_no
),
read as (
    select
        ordinal,
        json_transform(line, '{"type": "JSON", "event": "JSON", "name": "JSON", "messageId": "JSON", "userId": "JSON",
            "anonymousId": "JSON", "previousId": "JSON", "groupId": "JSON", "timestamp": "JSON",
            "originalTimestamp": "JSON", "sentAt": "JSON", "receivedAt": "JSON", "properties": "JSON",
            "traits": "JSON", "context": "JSON"}') as e,
        case when starts_with(line, '{"collector":{"refused":"')
            then regexp_extract(line, '"refused":"([a-z_]+)"', 1) end as refused,
        case when starts_with(line, '{"collector":{"shed":"')
            then regexp_extract(line, '"shed":"([a-z_]+)"', 1) end as shed
    from lines
),
texts as (
    select
        ordinal,
        e.type->>'$' as event_type,
        e.event->>'$' as event_text,
        e.name->>'$' as name_text,
        nullif(e."messageId"->>'$', '') as message_text,
        nullif(e."userId"->>'$', '') as user_id,
        nullif(e."anonymousId"->>'$', '') as anonymous_id,
        nullif(e."previousId"->>'$', '') as previous_id,
        e."timestamp"->>'$' as stated_text,
        e."originalTimestamp"->>'$' as original_text,
        e."sentAt"->>'$' as sent_text,
        e."receivedAt"->>'$' as received_text,
        coalesce(starts_with(e."messageId", '"'), true) as has_sound_id,
        coalesce(starts_with(e.event, '"'), true) and coalesce(starts_with(e."userId", '"'), true)
            and coalesce(starts_with(e."anonymousId", '"'), true) and coalesce(starts_with(e."previousId", '"'), true)
            and coalesce(starts_with(e."groupId", '"'), true) and coalesce(starts_with(e.properties, '{'), true)
            and coalesce(starts_with(e.traits, '{'), true) and coalesce(starts_with(e.context, '{'), true)
            as has_sound_fields,
        coalesce(starts_with(e."timestamp", '"'), true) and coalesce(starts_with(e."originalTimestamp", '"'), true)
            and coalesce(starts_with(e."sentAt", '"'), true) and coalesce(starts_with(e."receivedAt", '"'), true)
            as has_sound_times,
        e.properties as properties,
        e.traits as traits,
        e.context as context,
        refused,
        shed
    from read
),
times as (
    select
        *,
        case when regexp_full_match(stated_text, $instant_pattern)
            then try_cast(stated_text as timestamptz) at time zone 'UTC' end as stated_at,
        case when regexp_full_match(original_text, $instant_pattern)
            then try_cast(original_text as timestamptz) at time zone 'UTC' end as original_at,
        case when regexp_full_match(sent_text, $instant_pattern)
            then try_cast(sent_text as timestamptz) at time zone 'UTC' end as sent_at,
        case when regexp_full_match(received_text, $instant_pattern)
            then try_cast(received_text as timestamptz) at time zone 'UTC' end as claimed_received_at
    from texts
),
sound as (
    select
        ordinal,
        event_type,
        case when event_type in ('page', 'screen') then name_text else event_text end as event_name,
        case when has_sound_id then message_text end as message_text,
        user_id,
        anonymous_id,
        previous_id,
        stated_at,
        original_at,
        sent_at,
        claimed_received_at,
        case
            when shed = 'shed_overload' then 'shed_overload'
            when shed = 'shed_rate_limit' then 'shed_rate_limit'
            when refused = 'too_large' then 'too_large'
            when refused = 'too_many' then 'too_many'
            when event_type is null
                or event_type not in ('identify', 'track', 'page', 'screen', 'group', 'alias') then 'unknown_type'
            when not has_sound_id or not has_sound_fields or length(message_text) > 100 then 'invalid_envelope'
            when event_type = 'track' and coalesce(event_text, '') = '' then 'missing_event_name'
            when user_id is null and anonymous_id is null then 'no_identifier'
            when not has_sound_times
                or (stated_text is not null and stated_at is null)
                or (original_text is not null and original_at is null)
                or (sent_text is not null and sent_at is null)
                or (received_text is not null and claimed_received_at is null) then 'invalid_time'
        end as fault,
        case when contains(context, '"protocols"') then context->>'$.protocols.event_version' end as event_version,
        properties,
        traits,
        context
    from times
    union all
    select segment_no * 4294967296 + line_no, null, null, null, null, null, null, null, null, null, null, reason, null, null, null, null
    from line_faults
    where reason is not null
)
select
    s.ordinal,
    g.segment_id || ':' || lpad((s.ordinal % 4294967296)::varchar, 7, '0') as event_id,
    g.source,
    g.landed_at,
    s.event_type,
    s.event_name,
    coalesce(s.message_text, 'line:' || g.segment_id || ':' || lpad((s.ordinal % 4294967296)::varchar, 7, '0')) as message_id,
    s.user_id,
    s.anonymous_id,
    s.previous_id,
    s.event_version,
    case when s.original_at is not null and s.sent_at is not null
        then coalesce(s.claimed_received_at, g.landed_at) - (s.sent_at - s.original_at)
        else coalesce(s.stated_at, s.original_at, s.claimed_received_at, g.landed_at) end as occurred_at,
    coalesce(s.claimed_received_at, g.landed_at) as received_at,
    s.fault,
    s.properties,
    s.traits,
    s.context
from sound as s
join segments as g on s.ordinal // 4294967296 = g.segment_no
