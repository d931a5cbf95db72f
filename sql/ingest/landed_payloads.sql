-- The text of every line that is sound JSON.
-- grain: one line of one landing segment
select l.segment_no * 4294967296 + l.line_no as ordinal, l.line as payload
from landed_lines as l
anti join line_faults as f on l.segment_no * 4294967296 + l.line_no = f.segment_no * 4294967296 + f.line_no
where l.line is not null
