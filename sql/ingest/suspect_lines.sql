-- Lines that hold, or may hide, a fault of their text; only these are read byte by byte.
-- grain: one line of one landing segment
select segment_no, line_no, line
from landed_lines
where line is not null
    and (not json_valid(line)
        or not regexp_matches(line, '^[ \t]*\{')
        or regexp_matches(line, $suspect_pattern)
        or strlen(line) > $max_line_bytes)
