"""Every kind of contract file tells all its mistakes at once: of its shape, and of what it names elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from activation_dagster.errors import ContractsInvalid
from activation_dagster.registry.loading import load_contracts

CONTRACTS = Path(__file__).resolve().parent.parent.parent / "contracts"

KEY = "a" * 64
SPOILED: dict[str, tuple[str, dict[str, str]]] = {
    "envelope/contract.yaml": (
        "ownr: platform\nconsumers: [crmm, shop]\ncompatibility: ful\npinned: {web: v7, A/B: v1}\n"
        "versions: {v2: {lifecycle: draft}, v1: {lifecycle: deprecated}}\n",
        {
            "ownr": "Did you mean 'owner'?",
            "owner": "is missing; add it.",
            "description": "is missing; add it.",
            "consumers": "names owner 'crmm', which is not in owners.yaml. Did you mean 'crm'?",
            "compatibility": "Did you mean 'full'?",
            "pinned.web": "names version 'v7', which has no file.",
            "pinned.A/B": "no folder of landing could be called",
            "versions.v2": "names version 'v2', which has no file.",
            "versions.v1.deprecated_until": "write both or neither",
        },
    ),
    "envelope/v1.yaml": (
        "event_nam: envelope\nversion: v2\nproperties:\n  type: {type: strng}\n"
        "  sentAt: {type: timestamp, minimum: 4}\n"
        "  userId: {type: string, identifier: user}\n  context: {type: object, properties: {ip: {typ: string}}}\n"
        "required: [tipe]\n",
        {
            "event_nam": "Did you mean 'event_name'?",
            "event_name": "is missing; add it.",
            "version": "make them equal",
            "properties.type.type": "Did you mean 'string'?",
            "properties.sentAt.minimum": "",
            "properties.userId.identifier": "Did you mean 'user_id'?",
            "properties.context.properties.ip.type": "is missing; add it.",
            "properties.context.properties.ip.typ": "Did you mean 'type'?",
            "required": "names property 'tipe'",
        },
    ),
    "unknown_events.yaml": (
        "owner: platfrom\nkept: []\nkeep:\n  - {sources: [till], calls: [trak]}\n  - {sources: [A/B, C/D], why: 5}\n"
        "  - {source: [x], environments: [Demo], why: It is new.}\n",
        {
            "owner": "Did you mean 'platform'?",
            "kept": "Did you mean 'keep'?",
            "keep.0.why": "is missing; add it.",
            "keep.0.calls.0": "Did you mean 'track'?",
            "keep.1.why": "is no text",
            "keep.1.sources": "names 'A/B', which no folder",
            "keep.2.source": "Did you mean 'sources'?",
            "keep.2.sources": "is missing; add it.",
            "keep.2.environments": "names 'Demo', which no folder",
        },
    ),
    "sources.yaml": (
        "sources:\n  web:\n    ownr: shop\n    environment: demo\n    events: [pge]\n    pinned: {page: v9}\n"
        f"    keys: [{{sha256: {KEY}, made_at: 2026-01-01T00:00:00Z}}, {{sha256: short, made_at: today}}]\n"
        "    webhook: {secret: ACTIVATION_SECRET}\n  app:\n    owner: shp\n"
        "    events_per_second: 0\n    forward: {to: nowhere, key: KEY}\n  Web: {owner: shop, environment: demo}\n",
        {
            "sources.web.ownr": "Did you mean 'owner'?",
            "sources.web.owner": "is missing; add it.",
            "sources.web.events": "names event 'pge', which is not under events/. Did you mean 'page'?",
            "sources.web.pinned.page": "names version 'v9', which is not of events/page.",
            "sources.web.keys.1.sha256": "is not written as it must be",
            "sources.web.keys.1.made_at": "write one as 2026-01-31T10:00:00Z",
            "sources.web.webhook.secret": "no setting has that name",
            "sources.app.owner": "Did you mean 'shop'?",
            "sources.app.environment": "is missing; add it.",
            "sources.app.events_per_second": "must be more than 0",
            "sources.app.forward.to": "",
            "sources.Web.[key]": "",
        },
    ),
    "consent.yaml": (
        "version: 1\nowner: prvacy\npurposes:\n  marketing: {channels: [email]}\n  research: {description: Asking.}\n"
        "country_from: traits.country\nregions:\n  europe: {also_requires: {marketing: [reserch]}}\n"
        "  rest: {countries: [], valid_for_days: {marketin: 3}, days: 4}\ndefault_regoin: rest\n",
        {
            "version": "is no text",
            "owner": "Did you mean 'privacy'?",
            "purposes.marketing.description": "is missing; add it.",
            "purposes.research.channels": "is missing; add it.",
            "country_from": "is no list",
            "regions.europe.countries": "is missing; add it.",
            "regions.europe": "Did you mean 'research'?",
            "regions.rest": "Did you mean 'marketing'?",
            "regions.rest.days": "",
            "default_regoin": "Did you mean 'default_region'?",
            "default_region": "is missing; add it.",
        },
    ),
    "consent_mappings/marketing_email.yaml": (
        "owner: prvacy\nbass: contract\nevent: Nothing\npurpose: marketng\nchannels: email\n",
        {
            "owner": "Did you mean 'privacy'?",
            "bass": "Did you mean 'basis'?",
            "basis": "is missing; add it.",
            "path": "is missing; add it.",
            "event": "names event 'Nothing'",
            "purpose": "Did you mean 'marketing'?",
            "channels": "is no list",
        },
    ),
    "audiences/recent_buyers.yaml": (
        "owner: cmr\npurpose: marketing\nchanel: email\nconditions:\n"
        "  - {count: Product Purchase, at_least: 1, within: 3}\n"
        "  - {trait: plan, at_least: many}\n  - {sum: prise, of: Product Purchased, at_least: 1, within_days: 0}\n",
        {
            "owner": "Did you mean 'crm'?",
            "description": "is missing; add it.",
            "channel": "is missing; add it.",
            "chanel": "Did you mean 'channel'?",
            "conditions.0.within": "Did you mean 'within_days'?",
            "conditions.0": "Did you mean 'Product Purchased'?",
            "conditions.1.at_least": "is no number",
            "conditions.1": "exactly one of is_in, at_least, at_most",
            "conditions.2.within_days": "",
            "conditions.2": "Did you mean 'price'?",
        },
    ),
    "workflows/welcome_back.yaml": (
        "owner: cmr\nversion: 1\ntrigger: {event: product_purchase}\naudience: recent_buyer\npurpose: marketng\n"
        "priority: high\nsend: {destination: iterabel, endpoint: trak}\nreentry_days: never\n"
        "data_fields: {x: context.ip}\n",
        {
            "owner": "Did you mean 'crm'?",
            "version": "is no text",
            "description": "is missing; add it.",
            "trigger.event": "Did you mean 'product_purchased'?",
            "audience": "Did you mean 'recent_buyers'?",
            "purpose": "Did you mean 'marketing'?",
            "channel": "is missing; add it.",
            "priority": "is no whole number",
            "send.destination": "Did you mean 'iterable'?",
            "send.subject": "is missing; add it.",
            "reentry_days": "neither a whole number of days nor never_again",
            "expires_after_hours": "is missing; add it.",
            "data_fields.x": "can read only",
        },
    ),
    "destinations/iterable.yaml": (
        "owner: crmm\nkind: iterable\nprofile_key: user\nendpoints: {track: {path: /a, is_idempotent: yes please}}\n"
        "profile_endpoint: {path: /b, is_idempotent: true, batch_size: 0}\nurl: x\n",
        {
            "owner": "Did you mean 'crm'?",
            "profile_key": "Did you mean 'user_id'?",
            "endpoints.track.is_idempotent": "is neither true nor false",
            "endpoints.track.batch_size": "is missing; add it.",
            "endpoints.track.calls_per_second": "is missing; add it.",
            "profile_endpoint.batch_size": "",
            "profile_endpoint.calls_per_second": "is missing; add it.",
            "url": "is not a key of this file",
        },
    ),
    "failure_modes.yaml": (
        "quarantine_keep_days: 0\nquarantine: {bad_json: {owner: platfrom, response: 4}}\nlink: {}\n"
        "send: {}\nhold: {}\n"
        "gate: {expired: {owner: prvacy}, halted: {ownr: crm, response: Ask.}}\nduplicate: {}\ndecision: {}\n",
        {
            "quarantine_keep_days": "",
            "quarantine.bad_json.owner": "Did you mean 'platform'?",
            "quarantine.bad_json.response": "is no text",
            "gate.expired.owner": "Did you mean 'privacy'?",
            "gate.expired.response": "is missing; add it.",
            "gate.halted.owner": "is missing; add it.",
            "gate.halted.ownr": "Did you mean 'owner'?",
            "incident": "is missing; add it.",
        },
    ),
    "owners.yaml": (
        "owners:\n  shop: {name: Shop, contact: 5}\n  crm: {nam: CRM, contact: 'team:crm'}\n"
        "  platform: Platform\nowner: x\n",
        {
            "owners.shop.contact": "is no text",
            "owners.crm.nam": "Did you mean 'name'?",
            "owners.crm.name": "is missing; add it.",
            "owners.platform": "is no set of names and values",
            "owner": "Did you mean 'owners'?",
        },
    ),
    "identity.yaml": (
        "version: 3\nowner: platfrom\nkinds:\n  email: {paths: [], limit: 0, uniqe: true}\n"
        "  user_id: {paths: [userId], owner: shp, strength: storng}\nrules: {winer: oldest, maximum_cluster: 1}\n",
        {
            "version": "is no text",
            "owner": "Did you mean 'platform'?",
            "kinds.email.paths": "holds too little",
            "kinds.email.limit": "",
            "kinds.email.uniqe": "Did you mean 'unique'?",
            "kinds.user_id.limit": "",
            "kinds.user_id.owner": "Did you mean 'shop'?",
            "kinds.user_id.strength": "Did you mean 'strong'?",
            "rules.winer": "Did you mean 'winner'?",
            "rules.maximum_cluster": "must be at least 2",
        },
    ),
}
"""By file: what it says, and by place inside it each sentence that must be told, or a part of it."""


def faults_of(root: Path, file: str) -> list[tuple[str, str]]:
    """What is told of one file: places and sentences."""
    with pytest.raises(ContractsInvalid) as invalid:
        load_contracts(root, environment="demo")
    return [(fault.path, fault.sentence) for fault in invalid.value.faults if fault.file == file]


@pytest.mark.parametrize("file", SPOILED)
def test_every_mistake_of_a_file_is_told_at_once_of_its_shape_and_of_what_it_names(tmp_path: Path, file: str) -> None:
    root = tmp_path / "contracts"
    shutil.copytree(CONTRACTS, root)
    text, expected = SPOILED[file]
    (root / file).write_text(text)
    told = faults_of(root, file)
    untold = {
        place: sentence
        for place, sentence in expected.items()
        if not any(f"{path}.".startswith(f"{place}.") and sentence in said for path, said in told)
    }
    assert untold == {}, told
    assert {
        path for path, _ in told if not any(path == place or path.startswith(f"{place}.") for place in expected)
    } == set()
    assert all(said.endswith((".", "?")) and "\0" not in said for _, said in told), told


def test_spoiling_every_file_at_once_hides_none_of_their_shapes(tmp_path: Path) -> None:
    root = tmp_path / "contracts"
    shutil.copytree(CONTRACTS, root)
    for file, (text, _) in SPOILED.items():
        (root / file).write_text(text)
    assert all(len(faults_of(root, file)) >= 3 for file in SPOILED)
