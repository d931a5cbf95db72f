"""Real sources as Segment-spec events: two shops replayed as if they ended now, and the authors of commits."""

from activation_dagster.sources.real_data.git_authors import convert_git_authors as convert_git_authors
from activation_dagster.sources.real_data.replay import convert as convert
