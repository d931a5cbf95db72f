-- Shapes in which some object has a key twice: one reader takes the first, another the last.
-- grain: one sequence of keys
select outer_keys, inner_keys
from line_shapes
where list_unique(outer_keys) < len(outer_keys)
    or len(list_filter(inner_keys, lambda keys: list_unique(keys) < len(keys))) > 0
