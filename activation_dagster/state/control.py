"""The control log: every act of a person or a destination, append-only, in the order it took effect.

Together with landing it is all that is needed to compute everything again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from activation_dagster.state.instants import micros
from activation_dagster.state.sequence import next_seq
from activation_dagster.state.tables import control_log


def record_act(connection: Connection, *, now: datetime, actor: str, act: str, detail: Mapping[str, Any]) -> int:
    """Write that `actor` did `act` at `now`; returns the state sequence that the act stands at.

    `detail` is what is needed to do the act again, as JSON. To be called after all other locks of the transaction are
    held: taking the sequence makes everybody else wait who wants the next number.
    """
    seq = next_seq(connection)
    connection.execute(
        insert(control_log).values(
            seq=seq,
            done_at=micros(now),
            actor=actor,
            act=act,
            detail=json.dumps(detail, sort_keys=True, separators=(",", ":")),
        )
    )
    return seq
