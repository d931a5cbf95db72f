-- The sequences of keys that the batch's sound lines have: lines are many, shapes few.
-- grain: one sequence of keys, those of the outermost object and those of every value inside it
select distinct json_keys(l.line) as outer_keys, json_keys(l.line, '$..*') as inner_keys
from landed_lines as l
anti join suspect_lines as s
    on l.segment_no * 4294967296 + l.line_no = s.segment_no * 4294967296 + s.line_no
where l.line is not null
