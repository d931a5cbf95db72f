-- Lines that hold, or may hide, a fault of their text or a text field that is no text; only these are read one by one.
-- grain: one line of one landing segment
select segment_no, line_no, line, regexp_matches(line, $odd_pattern) as is_odd
from landed_lines
where line is not null
    and (not json_valid(line)
        or not regexp_matches(line, '^[ \t]*\{')
        or regexp_matches(line, $suspect_pattern)
        or strlen(line) > $max_line_bytes
        or len(string_split(line, '{')) + len(string_split(line, '[')) > $max_depth + 2)
