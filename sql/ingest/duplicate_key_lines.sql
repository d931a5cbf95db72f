-- Lines in which some object has a key twice.
-- grain: one line of one landing segment
with sound as materialized (
    select l.segment_no, l.line_no, l.line
    from landed_lines as l
    anti join suspect_lines as s
        on l.segment_no * 4294967296 + l.line_no = s.segment_no * 4294967296 + s.line_no
    where l.line is not null
)
select l.segment_no, l.line_no, l.line
from sound as l
join duplicate_key_shapes as d
    on json_keys(l.line) = d.outer_keys and json_keys(l.line, '$..*') = d.inner_keys
