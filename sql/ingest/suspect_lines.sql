-- Lines that hold, or may hide, a fault of their text; only these are read one by one.
-- grain: one line of one landing segment
select segment_no, line_no, line
from landed_lines
where line is not null
    and (not json_valid(line)
        or not regexp_matches(line, '^[ \t]*\{')
        or regexp_matches(line, $escape_pattern)
        or regexp_matches(line, $after_colon_pattern)
        or regexp_matches(line, $after_comma_pattern)
        or regexp_matches(line, $after_bracket_pattern)
        or strlen(line) > $max_line_bytes
        or len(string_split(line, '{')) + len(string_split(line, '[')) > $max_depth + 2)
