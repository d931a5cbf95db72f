"""Iterable: profiles are upserted first, then events are tracked in bulk or journeys triggered one by one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activation_dagster.destinations.iterable_replies import (
    Named,
    Reply,
    Verdict,
    delivered,
    is_trouble,
    judge_bulk,
    not_called,
    read_reply,
    rejected,
    troubled,
)
from activation_dagster.destinations.pace import Pacer
from activation_dagster.destinations.protocol import (
    Access,
    MayGoOn,
    OnReceipt,
    always,
    check_call,
    not_begun,
    pass_by,
)
from activation_dagster.domain.destinations import DestinationContract, Endpoint
from activation_dagster.domain.reasons import SendFailure
from activation_dagster.domain.sends import Json, Message, Outcome, Receipt
from activation_dagster.errors import SettingsInvalid, WrongUse

if TYPE_CHECKING:
    import httpx

MAX_BODY_BYTES = 3_900_000
"""Iterable refuses more than 4 MB; whether it counts in thousands or in 1,024s is not documented."""

KEEPALIVE_SECONDS = 2.0
"""An idle connection that the other side is just closing would put a send in doubt for nothing."""

TRACK = "track"
TRIGGER_WORKFLOW = "trigger_workflow"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    named: Named
    encoded: bytes


class IterableDestination:
    """One Iterable project. Endpoint names are `track` and `trigger_workflow`; paths begin with /api/."""

    def __init__(
        self,
        contract: DestinationContract,
        access: Access,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx

        _check_access(contract, access)
        self._contract = contract
        self._pacer = Pacer(clock=clock, sleep=sleep)
        self._client: httpx.Client = httpx.Client(
            base_url=access.address,
            headers={"Api-Key": access.api_key, "Content-Type": "application/json"},
            timeout=httpx.Timeout(access.timeout_seconds, connect=min(access.timeout_seconds, 5.0)),
            limits=httpx.Limits(max_connections=8, keepalive_expiry=KEEPALIVE_SECONDS),
        )

    @property
    def contract(self) -> DestinationContract:
        """What is promised about this project."""
        return self._contract

    def close(self) -> None:
        """Closes the pooled connections; may be called twice."""
        self._client.close()

    def deliver(
        self,
        endpoint: Endpoint,
        messages: Sequence[Message],
        *,
        on_receipt: OnReceipt = pass_by,
        may_go_on: MayGoOn = always,
    ) -> list[Receipt]:
        """See `Destination.deliver`. The profile upsert is repeatable, so its doubts are retries: no message went."""
        if endpoint.name not in (TRACK, TRIGGER_WORKFLOW):
            raise WrongUse(
                f"Destination '{self._contract.name}' was asked for endpoint '{endpoint.name}', which its client does "
                f"not know. Name the endpoint '{TRACK}' or '{TRIGGER_WORKFLOW}' in its contract."
            )
        check_call(self._contract, endpoint, messages)
        receipts = self._upsert_profiles(messages, may_go_on)
        welcome = [message for message in messages if message.send_key not in receipts]
        for receipt in receipts.values():
            on_receipt(receipt)
        if endpoint.name == TRACK:
            tracked = self._track(endpoint, welcome, may_go_on)
            for receipt in tracked.values():
                on_receipt(receipt)
            receipts |= tracked
        else:
            receipts |= self._trigger(endpoint, welcome, on_receipt, may_go_on)
        return [receipts[message.send_key] for message in messages]

    def _upsert_profiles(self, messages: Sequence[Message], may_go_on: MayGoOn) -> dict[str, Receipt]:
        """The receipts of the messages that must go no further, because their profile is not there."""
        items, receipts = _encode(messages, _profile_update)
        receipts |= self._call_in_bulk(self._contract.profile_endpoint, "users", items, may_go_on)
        return {
            key: _nothing_sent(receipt) for key, receipt in receipts.items() if receipt.outcome is not Outcome.DELIVERED
        }

    def _track(self, endpoint: Endpoint, messages: Sequence[Message], may_go_on: MayGoOn) -> dict[str, Receipt]:
        items, receipts = _encode(messages, _event)
        return receipts | self._call_in_bulk(endpoint, "events", items, may_go_on)

    def _trigger(
        self, endpoint: Endpoint, messages: Sequence[Message], on_receipt: OnReceipt, may_go_on: MayGoOn
    ) -> dict[str, Receipt]:
        """One call a message; after the first trouble no more is put at risk, the rest waits."""
        items, receipts = _encode(messages, _trigger_call)
        for receipt in receipts.values():
            on_receipt(receipt)
        trouble: Reply | None = None
        for item in items:
            key = item.named.send_key
            if trouble is not None:
                receipts[key] = not_called(key, trouble)
            elif not may_go_on():
                receipts[key] = not_begun(key)
            else:
                reply = self._post(endpoint, item.encoded)
                if is_trouble(reply):
                    trouble = reply
                    receipts[key] = troubled(key, reply)
                else:
                    receipts[key] = (delivered if reply.verdict is Verdict.TAKEN else rejected)(key, reply)
            on_receipt(receipts[key])
        return receipts

    def _call_in_bulk(
        self, endpoint: Endpoint, list_name: str, items: Sequence[_Item], may_go_on: MayGoOn
    ) -> dict[str, Receipt]:
        """Sends in calls that fit; a refused call is halved until its guilty items are alone. Repeatable calls only.

        One guilty item of n costs about 2·log2(n) further calls; after the first trouble the rest is not called.
        """
        receipts: dict[str, Receipt] = {}
        taken_in_part: set[str] = set()
        waiting = _in_calls(items, endpoint.batch_size)[::-1]
        while waiting:
            if not may_go_on():
                rest = [item.named.send_key for later in waiting for item in later]
                return receipts | {key: not_begun(key, may_have_arrived=key in taken_in_part) for key in rest}
            call = waiting.pop()
            reply = self._post(endpoint, _bulk_body(list_name, call))
            if is_trouble(reply):
                receipts |= {item.named.send_key: troubled(item.named.send_key, reply) for item in call}
                rest = [item.named.send_key for later in waiting for item in later]
                return receipts | {key: not_called(key, reply) for key in rest}
            told, untold = _read_bulk(reply, call)
            receipts |= told
            if len(untold) == 1 and len(call) == 1:
                receipts[untold[0].named.send_key] = rejected(untold[0].named.send_key, reply)
            elif untold:
                if reply.verdict is not Verdict.REFUSED:
                    taken_in_part.update(item.named.send_key for item in untold)
                waiting.extend(half for half in reversed(_halves(untold)) if half)
        return receipts

    def _post(self, endpoint: Endpoint, body: bytes) -> Reply:
        import httpx

        self._pacer.wait(endpoint.name, endpoint.calls_per_second)
        try:
            response = self._client.post(endpoint.path, content=body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError):
            return Reply(verdict=Verdict.UNREACHED)
        except httpx.RequestError:
            # Timeouts, resets, half-written requests, unreadable replies: it may have arrived.
            return Reply(verdict=Verdict.DOUBTFUL)
        return read_reply(
            response.status_code,
            response.content,
            retry_after=response.headers.get("retry-after"),
            date=response.headers.get("date"),
        )


def _check_access(contract: DestinationContract, access: Access) -> None:
    """Raises SettingsInvalid for what would fail at every call, and be mistaken for a send in doubt."""
    if not access.address.startswith(("https://", "http://")):
        raise SettingsInvalid(
            f"The address of destination '{contract.name}' does not begin with https:// or http://. "
            "Give the address of the data centre, such as https://api.eu.iterable.com."
        )
    if not (access.api_key.isascii() and access.api_key.isprintable()) or " " in access.api_key or not access.api_key:
        raise SettingsInvalid(
            f"The API key of destination '{contract.name}' is missing or holds characters that no key has. "
            "Copy a server-side key of the project into ACTIVATION_ITERABLE_API_KEY again."
        )


def _profile_update(message: Message) -> dict[str, Json]:
    return {
        "userId": message.profile_key,
        "dataFields": {**message.profile_fields},
        "preferUserId": True,
        "mergeNestedObjects": True,
    }


def _event(message: Message) -> dict[str, Json]:
    return {
        "id": message.send_key,
        "eventName": message.subject,
        "userId": message.profile_key,
        "createdAt": math.floor(message.created_at.timestamp()),
        "dataFields": message.execution_input(),
    }


def _trigger_call(message: Message) -> dict[str, Json]:
    return {
        "workflowId": int(message.subject),
        "userId": message.profile_key,
        "dataFields": message.execution_input(),
    }


def _named(message: Message) -> Named:
    email = message.profile_fields.get("email")
    return Named(
        send_key=message.send_key,
        identifiers=frozenset({message.profile_key, *([email] if isinstance(email, str) else [])}),
        event_name=message.subject,
    )


def _encode(
    messages: Sequence[Message], request: Callable[[Message], Mapping[str, Json]]
) -> tuple[list[_Item], dict[str, Receipt]]:
    """The request items, and the rejections of messages that no call can carry."""
    items: list[_Item] = []
    receipts: dict[str, Receipt] = {}
    for message in messages:
        why = "larger than a call may be"
        try:
            encoded = json.dumps(request(message), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError):
            why = "no form that the endpoint takes"
            encoded = b""
        if 0 < len(encoded) <= MAX_BODY_BYTES:
            items.append(_Item(named=_named(message), encoded=encoded))
            continue
        receipts[message.send_key] = Receipt(
            send_key=message.send_key,
            outcome=Outcome.REJECTED,
            reason=SendFailure.REJECTED_BY_DESTINATION,
            answer=f"not called: {why}",
        )
    return items, receipts


def _bulk_body(list_name: str, call: Sequence[_Item]) -> bytes:
    return b'{"%b":[%b]}' % (list_name.encode(), b",".join(item.encoded for item in call))


def _in_calls(items: Sequence[_Item], batch_size: int) -> list[list[_Item]]:
    """Consecutive calls of at most `batch_size` items and MAX_BODY_BYTES."""
    calls: list[list[_Item]] = []
    size = 0
    for item in items:
        added = len(item.encoded) + 1
        if not calls or len(calls[-1]) >= batch_size or size + added > MAX_BODY_BYTES:
            calls.append([])
            size = 0
        calls[-1].append(item)
        size += added
    return calls


def _halves(call: Sequence[_Item]) -> list[list[_Item]]:
    middle = (len(call) + 1) // 2
    return [[*call[:middle]], [*call[middle:]]]


def _read_bulk(reply: Reply, call: Sequence[_Item]) -> tuple[dict[str, Receipt], list[_Item]]:
    """The receipts that a reply settles, and the items among which it hides a guilty one."""
    if reply.verdict is Verdict.REFUSED:
        return {}, [*call]
    judgement = judge_bulk(reply, [item.named for item in call])
    receipts = {key: rejected(key, reply, reason) for key, reason in judgement.failures.items()}
    others = [item for item in call if item.named.send_key not in receipts]
    if judgement.has_unnamed_failures:
        return receipts, others
    for item in others:
        key = item.named.send_key
        if judgement.is_incomplete:
            receipts[key] = Receipt(
                send_key=key,
                outcome=Outcome.IN_DOUBT,
                reason=SendFailure.OUTCOME_UNKNOWN,
                http_status=reply.status,
                answer=reply.answer,
            )
        else:
            receipts[key] = delivered(key, reply)
    return receipts, []


def _nothing_sent(receipt: Receipt) -> Receipt:
    """A doubt about the profile upsert is none about the message, which did not go."""
    if receipt.outcome is not Outcome.IN_DOUBT:
        return receipt
    return Receipt(
        send_key=receipt.send_key,
        outcome=Outcome.RETRY,
        reason=SendFailure.DESTINATION_UNAVAILABLE,
        http_status=receipt.http_status,
        answer=receipt.answer,
    )
