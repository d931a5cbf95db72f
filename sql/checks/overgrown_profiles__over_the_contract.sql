-- Profiles that this batch gave more identifiers than the identity contract allows, counted anew from state.
-- grain: one offending profile and rule
select profile_id, broken
from overgrown_profiles
