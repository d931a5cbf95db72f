"""The one door for people: what commands print, what programs read, how they end, and what they never show."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from activation_dagster import cli
from activation_dagster.domain.reasons import IncidentKind
from activation_dagster.lake.tables import DECISIONS, VALIDATED
from activation_dagster.pipeline.places import Places
from activation_dagster.settings import load_settings
from activation_dagster.state.incidents import open_incident
from activation_dagster.state.tables import sends
from activation_dagster.wiring import open_places
from tests.databases import dialect, migrated_sqlite, new_state_url, postgres
from tests.pipeline.small_shop import REPOSITORY, bad_price, buyer, event, lines, purchase
from tests.test_completeness import command_names

__all__ = ["dialect", "migrated_sqlite", "new_state_url", "postgres"]

HEAVY = ("dagster", "sqlalchemy", "duckdb", "deltalake", "pyarrow", "pandas", "numpy", "pydantic", "httpx", "alembic")
KEYS = {
    "received", "accepted", "duplicate", "quarantined", "shed", "profiles", "audiences", "decisions", "sent",
    "refused", "pending", "quarantined_by_reason", "shed_by_reason", "refused_by_reason", "conserved",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value that it printed."""
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `activation …` in this process, through the door that the script goes through; its output is piped."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def go(*words: str) -> Ended:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["activation", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        out, err = capfd.readouterr()
        return Ended(code=code, out=out, err=err)

    return go


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of its own, whatever the environment says."""
    for name in [name for name in os.environ if name.startswith("ACTIVATION_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ACTIVATION_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def worked_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation in which two files of events were landed and worked by commands, once for all tests."""
    folder = tmp_path_factory.mktemp("cli")
    now = datetime.now(UTC)  # commands read the clock
    first = [*buyer("ann@shop.example", price=700.0, now=now), *buyer("bob", allows=False, now=now), b'{"type": "tra']
    unknown = event("track", "bob", at=now, event="No Such Event", properties={})
    second = [*buyer("eve", now=now), bad_price("bob", at=now), unknown]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACTIVATION_")}
    environment |= {"ACTIVATION_HOME": str(folder / "home"), "PYTHONPATH": str(REPOSITORY)}
    for number, events in enumerate((first, second)):
        file = folder / f"{number}.ndjson"
        file.write_bytes(b"\n".join(lines(*events)) + b"\n")
        for words in (("events", "land", str(file), "--source", "web"), ("work", "--no-deliver")):
            command = [sys.executable, "-m", "activation_dagster.cli", *words]
            subprocess.run(command, env=environment, check=True, capture_output=True)
    return folder / "home"


@pytest.fixture
def worked(home: Path, worked_home: Path) -> Path:
    """A copy of the worked installation."""
    shutil.copytree(worked_home, home)
    return home


@pytest.fixture
def places(worked: Path) -> Generator[Places]:
    """The places of the worked installation."""
    with open_places(load_settings()) as opened:
        yield opened


# -- the door itself --------------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy(home: Path) -> None:
    program = f"""
import sys
sys.argv = ["activation", "--help"]
from activation_dagster.cli import main
try:
    main()
except SystemExit:
    pass
print(*sorted({{name.partition(".")[0] for name in sys.modules}} & set({HEAVY!r})), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "Usage" in ended.stdout
    assert ended.stderr.split() == []


@pytest.mark.parametrize("name", sorted(command_names()))
def test_every_command_explains_itself(run: Run, name: str) -> None:
    ended = run(*name.split(), "--help")
    assert ended.code == 0
    assert f"activation {name}" in " ".join(ended.out.split())


@pytest.mark.parametrize(
    "words",
    [
        ["statsu"],
        ["sends", "list", "--status", "lost"],
        ["sends", "halt"],
        ["sends", "release", "--by", "me"],
        ["sends", "halt", "everything", "--by", "me", "--why", "w"],
        ["sends", "resume", "*", "--by", "me"],
        ["explain"],
        ["explain", "--profile", "user_id:ann@shop.example"],
        ["explain", "feedfeed"],
        ["consent", "show", "user_id:ann@shop.example"],
        ["identity", "show", "user_id:ann@shop.example"],
        ["identity", "resolve", "--rules", "/nowhere.yaml", "--events", "/nowhere.ndjson"],
        ["incidents", "resolve", "nothing", "--by", "me", "--resolution", "r"],
        ["events", "land", "/nowhere.ndjson", "--source", "web"],
        ["simulate", "--people", "10", "--events", "3"],
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2_and_no_traceback(run: Run, home: Path, words: list[str]) -> None:
    ended = run(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err
    assert "Traceback" not in ended.err
    assert "ann@" not in ended.err


def test_a_wrong_setting_is_one_sentence_that_shows_no_secret(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIVATION_STATE_URL", "mysql://root:hunter2@db/x")
    ended = run("status")
    assert ended.code == 2
    assert ended.err.startswith("The environment variable ACTIVATION_STATE_URL is wrong")
    assert ended.err.count("\n") == 1
    assert "hunter2" not in ended.err


def test_a_state_that_cannot_be_opened_is_one_sentence(run: Run, home: Path, tmp_path: Path) -> None:
    (home / "state").mkdir(parents=True)
    (home / "state" / "demo.db").write_bytes(b"this is no database" * 100)
    ended = run("status")
    assert ended.code == 2
    assert ended.err.startswith("The state database cannot be opened")
    assert "Traceback" not in ended.err


# -- status -----------------------------------------------------------------------------------------------------------


def test_status_of_an_empty_installation_is_all_zero_and_conserved(run: Run, home: Path) -> None:
    ended = run("status", "--json")
    assert ended.code == 0
    assert ended.json.keys() >= KEYS
    assert ended.json["received"] == 0
    assert ended.json["conserved"] is True
    assert run("status").code == 0


def test_status_prints_one_object_whose_sums_hold(run: Run, worked: Path) -> None:
    found = run("status", "--json").json
    assert found.keys() >= KEYS
    events = [found[name] for name in ("received", "accepted", "duplicate", "quarantined", "shed")]
    assert events == [12, 9, 0, 3, 0]
    assert found["decisions"] == found["sent"] + found["refused"] + found["pending"]
    assert sum(found["refused_by_reason"].values()) == found["refused"]
    assert sum(found["quarantined_by_reason"].values()) == found["quarantined"]
    assert found["audiences"] == {"high_value_users": 1, "recent_buyers": 2}
    assert (found["pending"], found["conserved"], found["environment"]) == (3, True, "demo")


def test_status_for_people_fits_100_columns_when_piped(run: Run, worked: Path) -> None:
    ended = run("status")
    assert ended.code == 0
    assert max(map(len, ended.out.splitlines())) <= 100
    assert "\x1b" not in ended.out
    assert "received 12 = accepted 9 + duplicate 0 + quarantined 3 + shed 0" in ended.out
    assert "Both sums hold" in ended.out


def test_a_broken_sum_ends_status_and_work_with_1(run: Run, places: Places) -> None:
    with places.state.write() as connection:
        connection.execute(delete(sends))
    ended = run("status", "--json")
    assert (ended.code, ended.json["conserved"], ended.json["open_incidents"]) == (1, False, 0)
    assert "A SUM IS BROKEN" in run("status").out
    assert run("work", "--no-deliver").code == 1
    assert run("status", "--json").json["open_incidents"] == 2


# -- landing and working ----------------------------------------------------------------------------------------------


def test_a_landed_file_is_worked_without_dagster(run: Run, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n".join(lines(*buyer("ann"))))  # without a last newline
    landed = run("events", "land", str(file), "--source", "web", "--json").json
    assert (landed["lines"], len(landed["segments"])) == (3, 1)
    assert run("status", "--json").json["waiting_segments"] == 1
    worked = run("work", "--no-deliver", "--json").json
    assert (len(worked["batches"]), worked["delivery"], worked["conserved"]) == (1, None, True)
    assert run("status", "--json").json["received"] == 3


def test_landing_the_same_file_twice_is_received_twice_and_accepted_once(run: Run, home: Path, tmp_path: Path) -> None:
    import gzip

    file = tmp_path / "events.ndjson.gz"
    file.write_bytes(gzip.compress(b"\n".join(lines(*buyer("ann"))) + b"\n"))
    for _ in range(2):
        assert run("events", "land", str(file), "--source", "web").code == 0
    run("work", "--no-deliver")
    found = run("status", "--json").json
    assert (found["received"], found["accepted"], found["duplicate"]) == (6, 3, 3)


def test_an_empty_file_lands_nothing(run: Run, home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.ndjson").write_bytes(b"")
    assert run("events", "land", str(tmp_path / "empty.ndjson"), "--source", "web", "--json").json["segments"] == []


def test_simulated_events_land_and_are_reproducible(run: Run, home: Path) -> None:
    first = run("simulate", "--seed", "3", "--people", "5", "--events", "80", "--json").json
    assert (first["lines"], first["source"]) == (80, "shop")
    assert run("simulate", "--seed", "3", "--people", "5", "--events", "80").code == 0
    run("work", "--no-deliver")
    found = run("status", "--json").json
    assert found["received"] == 160
    assert found["duplicate"] >= 60  # the second landing repeats every message id of the first


def test_work_delivers_what_is_due_and_says_what_could_not_be(
    run: Run, worked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_key = run("work")
    assert (without_key.code, without_key.err[:48]) == (2, "The API key of destination 'iterable' is missing")
    monkeypatch.setenv("ACTIVATION_ITERABLE_API_KEY", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("ACTIVATION_ITERABLE_BASE_URL", "http://127.0.0.1:9")
    ended = run("work", "--json")  # nothing listens where Iterable should be
    assert ended.code == 0
    assert ended.json["delivery"]["sent"] == 0
    assert ended.json["delivery"]["waiting"] == 3
    assert run("status", "--json").json["pending"] == 3


# -- reading ----------------------------------------------------------------------------------------------------------


def test_contracts_that_are_sound_say_so(run: Run, home: Path) -> None:
    ended = run("contracts", "check", "--json")
    assert (ended.code, ended.json["faults"]) == (0, [])
    assert ended.json["promised"]["workflows"] == 3
    assert "The contracts are sound" in run("contracts", "check").out


def test_contracts_with_mistakes_show_all_of_them_and_end_with_1(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contracts = tmp_path / "contracts"
    shutil.copytree(REPOSITORY / "contracts", contracts)
    for file in ("audiences/recent_buyers.yaml", "workflows/vip_journey.yaml"):
        path = contracts / file
        path.write_text(re.sub(r"^owner: .*$", "owner: nobody", path.read_text(), count=1, flags=re.MULTILINE))
    monkeypatch.setenv("ACTIVATION_CONTRACTS", str(contracts))
    ended = run("contracts", "check", "--json")
    assert ended.code == 1
    assert [(fault["file"], fault["path"]) for fault in ended.json["faults"]] == [
        ("audiences/recent_buyers.yaml", "owner"),
        ("workflows/vip_journey.yaml", "owner"),
    ]
    people = run("contracts", "check")
    assert people.code == 1
    assert "2 mistakes" in people.out
    other = run("work")  # any command that needs the contracts
    assert other.code in (0, 1)
    assert "Traceback" not in other.err


def test_working_says_that_the_contracts_are_refused(
    run: Run, worked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contracts = tmp_path / "contracts"
    shutil.copytree(REPOSITORY / "contracts", contracts)
    monkeypatch.setenv("ACTIVATION_CONTRACTS", str(contracts))
    version = contracts / "events" / "page" / "v1.yaml"
    version.write_text(version.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    file = tmp_path / "one.ndjson"
    file.write_bytes(lines(event("page", "bob", at=datetime.now(UTC)))[0] + b"\n")
    run("events", "land", str(file), "--source", "web")
    ended = run("work", "--no-deliver")
    assert ended.out.startswith("Worked 1 batch; ")
    assert "1 incident is open: see `activation incidents list`." in ended.out


def test_quarantine_is_listed_and_shown_masked(run: Run, worked: Path) -> None:
    groups = run("quarantine", "list", "--json").json
    assert {(group["event"], group["reason"]) for group in groups} == {
        ("product_purchased", "contract_violation"),
        ("No Such Event", "unknown_event"),
        ("", "not_json"),
    }
    shown = run("quarantine", "show", "--reason", "contract_violation", "--json").json
    assert shown[0]["payload"]["userId"] == "<text of 3>"
    revealed = run("quarantine", "show", "--reason", "contract_violation", "--reveal", "--json").json
    assert revealed[0]["payload"]["userId"] == "bob"
    assert "bob" not in run("quarantine", "show").out
    assert "Values are masked" in run("quarantine", "show").out


REPAIR = """
id: dear_prices
owner: shop
reason_for: A till wrote a word where the price stands.
select: {event: product_purchased, reason: contract_violation}
steps: [map_values: {field: properties.price, values: {dear: 900}}]
"""


def test_a_repair_is_tried_then_applied_by_name_and_kept(run: Run, worked: Path, tmp_path: Path) -> None:
    file = tmp_path / "dear_prices.yaml"
    file.write_text(REPAIR, encoding="utf-8")
    tried = run("quarantine", "repair", str(file))
    assert tried.code == 0
    assert "properties.price: <text of 4> → <integer>" in tried.out
    assert "1 event selected; 1 would pass today's contracts." in tried.out
    assert "dear" not in tried.out.replace("dear_prices", "")
    assert "Nothing was changed. To let them enter again: the same with `--apply --by NAME`." in tried.out
    idle = tmp_path / "idle.yaml"
    idle.write_text(REPAIR.replace("dear: 900", "cheap: 900"), encoding="utf-8")
    assert "no step of the repair changed it" in run("quarantine", "repair", str(idle)).out
    assert 'properties.price: "dear" → 900' in run("quarantine", "repair", str(file), "--reveal").out
    nameless = run("quarantine", "repair", str(file), "--apply")
    assert (nameless.code, nameless.err) == (
        2, "This was to be done in nobody's name, with --apply. Say who does it: --by NAME.\n",
    )  # fmt: skip
    assert "1 event entered again in 1 segment" in run("quarantine", "repair", str(file), "--apply", "--by", "ann").out
    assert "nothing waits that fits" in run("quarantine", "repair", str(file), "--apply", "--by", "ann").out
    assert run("work", "--no-deliver").code == 0
    (act,) = run("quarantine", "log", "--json").json
    assert (act["kind"], act["name"], act["done_by"], act["events"]) == ("repair", "dear_prices", "ann", 1)
    (closed,) = run("quarantine", "show", "--closed", "--json").json
    assert (closed["closed_by"], closed["reason"]) == ("repair dear_prices", "contract_violation")
    assert {group["reason"] for group in run("quarantine", "list", "--json").json} == {"unknown_event", "not_json"}


def test_what_nobody_can_mend_is_dismissed_with_a_reason(run: Run, worked: Path) -> None:
    words = ["quarantine", "dismiss", "--reason", "not_json"]
    tried = run(*words)
    assert "Dismissal: 1 event selected." in tried.out
    assert "Nothing was changed." in tried.out
    assert run(*words, "--json").json["selected"] == 1
    assert run(*words, "--apply", "--by", "ann").code == 2
    words += ["--apply", "--by", "ann", "--why", "A writer that stopped half-way."]
    assert "Dismissed 1 event." in run(*words).out
    assert "nothing was dismissed" in run(*words).out
    assert "A writer that stopped" in run("quarantine", "log").out
    assert run("quarantine", "dismiss", "--by", "ann", "--why", "x").code == 2
    assert run(*words, "--json").json["selected"] == 0
    mistyped = run("quarantine", "replay", "--reason", "not_jsn")
    assert (mistyped.code, "Did you mean 'not_json'?" in mistyped.err) == (2, True)
    replayed = run("quarantine", "replay", "--json").json
    assert (replayed["selected"], replayed["passing"], replayed["applied"]) == (2, 0, False)


def test_time_and_batch_narrow_what_is_listed_shown_repaired_replayed_and_dismissed(
    run: Run, worked: Path, tmp_path: Path
) -> None:
    (sample,) = run("quarantine", "show", "--reason", "contract_violation", "--json").json
    batch, seen = sample["batch_id"], sample["seen_at"]
    file = tmp_path / "dear_prices.yaml"
    file.write_text(REPAIR, encoding="utf-8")
    for words in (["replay"], ["repair", str(file)], ["dismiss", "--reason", "contract_violation"]):
        assert run("quarantine", *words, "--batch", batch, "--since", seen, "--json").json["selected"] >= 1
        for nothing in (["--until", seen, "--batch", batch], ["--batch", "b0"], ["--since", "2999-01-01"]):
            assert run("quarantine", *words, *nothing, "--json").json["selected"] == 0
    assert {group["reason"] for group in run("quarantine", "list", "--batch", batch, "--json").json} == {
        "contract_violation", "unknown_event",
    }  # fmt: skip
    assert run("quarantine", "list", "--since", "2999-01-01T00:00:00Z", "--json").json == []
    assert run("quarantine", "show", "--until", "2000-01-01", "--json").json == []
    for wrong in ("yesterday", "2025-09-18T10:00:00"):
        refused = run("quarantine", "replay", "--since", wrong)
        assert (refused.code, "is no time with a zone, in --since" in refused.err) == (2, True)


def test_nothing_is_purged_before_its_time_and_the_list_says_when_it_comes(run: Run, worked: Path) -> None:
    (group,) = run("quarantine", "list", "--reason", "not_json", "--json").json
    seen, goes = (datetime.fromisoformat(group[name]) for name in ("first_seen_at", "removed_from"))
    assert goes > seen
    found = run("quarantine", "purge", "--json").json
    assert (found["groups"], found["soon"], found["removed"], found["applied"]) == ([], 0, 0, False)
    assert "Nothing is kept longer than its reason asks for." in run("quarantine", "purge").out
    assert run("quarantine", "purge", "--apply").code == 2


def test_a_repair_with_mistakes_names_them_all(run: Run, worked: Path, tmp_path: Path) -> None:
    file = tmp_path / "dear_prices.yaml"
    file.write_text(REPAIR.replace("owner: shop", "owner: shp").replace("map_values", "map_value"), encoding="utf-8")
    refused = run("quarantine", "repair", str(file))
    assert refused.code == 2
    assert "dear_prices.yaml: steps.0.map_value: is not a key of this file; remove it. Did you mean" in refused.err
    missing = run("quarantine", "repair", str(tmp_path / "none.yaml"))
    assert (missing.code, "There is no repair, at" in missing.err) == (2, True)


def test_what_drives_a_terminal_is_never_printed(run: Run, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    evil = purchase("ann") | {"event": "\x1b[31mRed\x07 [bold]not[/bold]"}
    file.write_bytes(b"\n".join(lines(evil, b'{"event": "\\ud800", "type": "track"}')))
    run("events", "land", str(file), "--source", "web")
    run("work", "--no-deliver")
    for words in (("quarantine", "list"), ("quarantine", "show"), ("quarantine", "show", "--reveal")):
        ended = run(*words)
        assert ended.code == 0
        assert not set(ended.out) & {"\x1b", "\x07"}
    assert "[bold]" in run("quarantine", "list").out  # what data says is no markup
    assert len(run("quarantine", "show", "--reveal", "--json").json) == 2


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("words", ["quarantine list", "sends list", "incidents list --all", "status", "explain"])
def test_readers_fit_the_terminal_and_cut_nothing_off(
    run: Run, worked: Path, places: Places, monkeypatch: pytest.MonkeyPatch, words: str, width: int
) -> None:
    with places.state.write() as connection:
        sentence = "A run failed: its process died, in run 0a1b2c3d of batch b0123. Look at the run in Dagster."
        incident = open_incident(
            connection, IncidentKind.RUN_FAILED, about="x", owner="platform", sentence=sentence, now=places.clock()
        )
    said = words.split()
    must_be_whole = {
        "quarantine list": ["product_purchased", "contract_violation", "properties.price", "field"],
        "sends list": [send["send_key"][:13] for send in run("sends", "list", "--json").json],
        "incidents list --all": [incident, "run_failed", "owner platform"],
        "status": ["Both sums hold in every batch."],
        "explain": ["decision:", "answer:"],
    }[words]
    if words == "explain":
        said += [run("sends", "list", "--json").json[0]["send_key"]]
    monkeypatch.setenv("COLUMNS", str(width))
    out = run(*said).out
    assert max(map(len, out.splitlines())) <= width
    assert [part for part in must_be_whole if part not in out] == []


def test_sends_are_listed_and_what_they_say_of_a_person_is_masked(run: Run, worked: Path) -> None:
    found = run("sends", "list", "--json").json
    assert {send["workflow_id"] for send in found} == {"welcome_back", "vip_journey"}
    assert all(send["profile_key"].startswith("<text of ") for send in found)
    assert "ann@" not in run("sends", "list", "--json").out
    revealed = run("sends", "list", "--workflow", "vip_journey", "--reveal", "--json").json
    assert [send["profile_key"] for send in revealed] == ["ann@shop.example"]
    assert run("sends", "list", "--status", "sent", "--json").json == []
    assert len(run("sends", "list", "--profile", "user_id:ann@shop.example", "--json").json) == 2
    people = run("sends", "list", "--limit", "1").out
    assert max(map(len, people.splitlines())) <= 100
    assert "Only the newest 1" in people


def test_a_send_is_explained_by_the_beginning_of_its_key_as_it_is_listed(run: Run, worked: Path) -> None:
    listed = run("sends", "list", "--workflow", "vip_journey").out
    beginning = re.search(r"[0-9a-f]{13}", listed)
    assert beginning is not None
    found = run("explain", beginning[0], "--json")
    assert found.code == 0
    assert found.json["decision"]["workflow_id"] == "vip_journey"
    assert "ann@" not in found.out
    people = run("explain", beginning[0]).out
    for part in ("decision:", "trigger:", "person:", "consent:", "audience:", "workflow:", "gate:", "answer:"):
        assert part in people
    assert max(map(len, people.splitlines())) <= 100


def test_a_refusal_is_explained_by_person_and_workflow(run: Run, worked: Path) -> None:
    found = run("explain", "--profile", "user_id:bob", "--workflow", "welcome_back", "--json").json
    assert (found["decision"]["outcome"], found["decision"]["reason"]) == ("refuse", "consent_denied")
    assert found["gate"] is None
    people = run("explain", "--profile", "user_id:bob", "--workflow", "vip_journey")
    assert (people.code, people.err) == (0, "")
    assert "Nothing was decided" in people.out


# -- acting -----------------------------------------------------------------------------------------------------------


def test_a_halt_stands_until_it_is_lifted_and_says_so_in_status(run: Run, worked: Path) -> None:
    assert run("sends", "halt", "workflow:vip_journey", "--by", "me", "--why", "wrong text").code == 0
    assert run("status", "--json").json["halts"] == ["workflow:vip_journey"]
    assert "Halted: workflow:vip_journey" in run("status").out
    assert run("sends", "resume", "workflow:vip_journey", "--by", "me").code == 0
    assert run("status", "--json").json["halts"] == []


def test_a_halt_of_something_unknown_stands_and_warns(run: Run, worked: Path) -> None:
    ended = run("sends", "halt", "workflow:vip_jorney", "--by", "me", "--why", "typo")
    assert ended.code == 0
    assert "no workflow is called 'vip_jorney'" in ended.err
    assert run("status", "--json").json["halts"] == ["workflow:vip_jorney"]


def test_held_sends_are_released_by_a_named_person(run: Run, places: Places) -> None:
    with places.state.write() as connection:
        connection.execute(update(sends).values(status="held", reason="not_live"))
    assert run("status", "--json").json["held"] == 3
    assert "Released 1 held send;" in run("sends", "release", "--by", "me", "--workflow", "vip_journey").out
    key = run("sends", "list", "--status", "held", "--json").json[0]["send_key"]
    assert "Released 1 held send;" in run("sends", "release", "--by", "me", "--key", key).out
    assert run("status", "--json").json["held"] == 1


def test_a_choice_made_at_a_desk_is_recorded_and_counts(run: Run, worked: Path) -> None:
    def marketing() -> bool:
        verdicts = run("consent", "show", "user_id:bob", "--json").json["verdicts"]
        (found,) = [v for v in verdicts if (v["purpose"], v["channel"]) == ("marketing", "email")]
        return found["is_allowed"]

    assert marketing() is False
    words = ["consent", "record", "user_id:bob", "granted", "--purpose", "marketing", "--channel", "email"]
    assert run(*words, "--by", "desk", "--proof", "letter 7").code == 0
    assert marketing() is True
    assert run("consent", "suppress", "user_id:bob", "--reason", "complaint", "--by", "desk").code == 0
    assert marketing() is False
    people = run("consent", "show", "user_id:bob")
    assert people.code == 0
    assert "complaint" in people.out
    assert "bob" not in people.out
    wrong = run(*words[:4], "--purpose", "marketng", "--channel", "email", "--by", "desk", "--proof", "p")
    assert (wrong.code, wrong.out) == (2, "")
    assert "Did you mean 'marketing'?" in wrong.err


def test_damage_of_the_lake_is_found_rebuilt_and_resolved(run: Run, worked: Path, places: Places) -> None:
    assert run("lake", "verify").code == 0
    shutil.rmtree(places.lake.path(VALIDATED))
    (worked / "lake" / "demo" / DECISIONS.name / "_delta_log" / "00000000000000000000.json").write_bytes(b"")
    found = run("lake", "verify", "--json")
    assert (found.code, found.json["is_sound"]) == (1, False)
    assert {damage["table"] for damage in found.json["damaged"]} == {"validated_events", "send_decisions"}
    assert len(run("incidents", "list", "--json").json) == 2
    people = run("lake", "verify")
    assert people.code == 1
    assert "lake verify --rebuild" in people.out
    assert run("lake", "verify", "--rebuild").code == 0
    assert run("incidents", "list", "--json").json == []
    assert len(run("incidents", "list", "--all", "--json").json) == 2


def test_an_incident_is_resolved_once(run: Run, places: Places) -> None:
    with places.state.write() as connection:
        connection.execute(delete(sends))
    run("work", "--no-deliver")
    incident, *_ = run("incidents", "list", "--json").json
    words = ["incidents", "resolve", incident["incident_id"], "--by", "me", "--resolution", "A test did it."]
    assert run(*words).code == 0
    assert run(*words).code == 2
    assert "platform" in run("incidents", "list").out


def test_every_reader_prints_one_json_value(run: Run, worked: Path) -> None:
    readers = [
        ["status"], ["contracts", "check"], ["quarantine", "list"], ["quarantine", "show"], ["quarantine", "log"],
        ["quarantine", "replay"], ["sends", "list"],
        ["consent", "show", "user_id:bob"], ["incidents", "list"], ["lake", "verify"],
        ["explain", "--profile", "user_id:bob", "--workflow", "welcome_back"],
    ]  # fmt: skip
    for words in readers:
        ended = run(*words, "--json")
        assert (ended.code, ended.err) == (0, ""), words
        assert isinstance(ended.json, dict | list), words


def test_state_may_live_in_postgresql(
    run: Run, home: Path, new_state_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIVATION_STATE_URL", new_state_url())
    run("simulate", "--people", "5", "--events", "80")
    assert run("work", "--no-deliver").code == 0
    found = run("status", "--json").json
    assert (found["received"], found["conserved"]) == (80, True)
    assert run("quarantine", "list", "--json").json


def test_a_graph_is_shown_drawn_and_masked(run: Run, worked: Path, tmp_path: Path) -> None:
    picture, page = tmp_path / "graph.svg", tmp_path / "graph.html"
    shown = run("identity", "show", "user_id:ann@shop.example", "--svg", str(picture), "--html", str(page))
    assert (shown.code, shown.err) == (0, "")
    assert "accepted: user_id" in shown.out
    found = run("identity", "show", "user_id:ann@shop.example", "--json").json
    assert [link["decision"] for link in found["links"]] == ["accepted"]
    for text in (shown.out, picture.read_text(), page.read_text(), json.dumps(found)):
        assert "ann@" not in text
    assert picture.read_text().startswith("<svg")
    lost = run("identity", "show", "user_id:ann@shop.example", "--svg", str(tmp_path / "no" / "graph.svg"))
    assert lost.code == 2


def test_rules_are_tried_on_a_file_line_by_line_and_no_installation_is_made(
    run: Run, home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "events.ndjson"
    shared = [
        {"messageId": f"m{number}", "userId": user, "context": {"traits": {"email": " Box@shop.test"}}}
        for number, user in enumerate(("A", "B"))
    ]
    file.write_bytes(
        b"\n".join([*(json.dumps(one).encode() for one in shared), b"", b'{"userId": "null"}', b"{"]) + b"\n"
    )
    words = ("identity", "resolve", "--rules", str(REPOSITORY / "contracts" / "identity.yaml"), "--events", str(file))
    ended = run(*words, "--json")
    first, second, nobody, broken = map(json.loads, ended.out.splitlines())
    assert set(first) == set(second) == {"messageId", "profile_id", "conflicts"}
    assert first["profile_id"] != second["profile_id"]
    assert (first["messageId"], first["conflicts"]) == ("m0", [])
    assert [(one["kind"], one["decision"], one["reason"]) for one in second["conflicts"]] == [
        ("email", "conflict", "limit_reached")
    ]
    assert second["conflicts"][0]["other_profile_id"] == first["profile_id"]
    assert [(one["profile_id"], one["reason"]) for one in (nobody, broken)] == [
        (None, "no_profile"),
        (None, "not_json"),
    ]
    assert not home.exists()
    assert "box@" not in run(*words).out
