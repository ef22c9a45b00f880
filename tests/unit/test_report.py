"""The report: what is said of closed and of broken books, and where; hostile text stays text."""

from __future__ import annotations

import datetime as dt
import html.parser
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topicledger.cli.scaffold import write_dag_files
from topicledger.errors import RetriableError, SettingsError
from topicledger.model.accounts import Accounts, Identity, PartitionBooks
from topicledger.model.identity import batch_id
from topicledger.model.ledger import LedgerRow, ReconciledBooks
from topicledger.model.manifest import Acceptance, Manifest, StagedPartition
from topicledger.model.plan import OffsetRange, Receipt
from topicledger.report.files import report_path, write_report
from topicledger.report.history import history_table
from topicledger.report.page import page
from topicledger.report.text import accounts_table, next_steps, one_line

DAG = "robust_kafka_etl_pipeline"
TOPIC_ID = "mPqZ3xQkT5SxAbCdEfGhIj"
HOSTILE = "manual__<script>alert('1')</script>&\"\n\x1b[31m\u202edlrow\ud800"
IDS = st.text(max_size=300) | st.text(".aA:_", max_size=2) | st.text("x", min_size=148, max_size=152)
HOLDS = (Identity("I1", "partition 0: end 1010 - start 1000 = ...", holds=True),)
BROKEN = (*HOLDS, Identity("I3", "records 10 = loaded 9", holds=False))
BOOKS = (
    PartitionBooks(TOPIC_ID, 0, origin=0, position=1010, applied=1010),
    PartitionBooks("another topic id", 0, origin=0, position=77, applied=77),
)


def ledger_row(run_id: str = "scheduled__2026-01-01", topic: str = "user_signups") -> LedgerRow:
    receipt = Receipt(topic, TOPIC_ID, "attempt-1", acked=1234, ranges=(OffsetRange(0, 1000, 1010),))
    manifest = Manifest(
        contract_version=1,
        batch_id="6a1f0c4be2d97a35",
        plan_id="c0ffee0123456789",
        pipeline=DAG,
        target="main.user_signups",
        run_id=run_id,
        topic=topic,
        topic_id=TOPIC_ID,
        partitions=(StagedPartition(0, 1000, 1010, 0, None, None, (), gap=0, records=10, invisible=0),),
        receipt=receipt,
        reasons={"invalid_json": 1},
        accepted=("gap:3:400:1000",),
    )
    return LedgerRow(
        batch_id=manifest.batch_id,
        plan_id=manifest.plan_id,
        pipeline=manifest.pipeline,
        target=manifest.target,
        run_id=run_id,
        topic=topic,
        topic_id=TOPIC_ID,
        planned=(OffsetRange(0, 1000, 1010),),
        applied=(OffsetRange(0, 1002, 1010),),
        manifest=manifest,
        receipt=receipt,
        accounts=Accounts(10, 0, 0, 2, 5, 1, 1, 1, 1234, None, 0, 0, 0),
        sha256="ab" * 32,
        loaded_at=dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
    )


def acceptance_row() -> LedgerRow:
    accepted = Acceptance("6a1f0c4be2d97a35", "manual__1", ("truncated:3:90:100",))
    return msgspec.structs.replace(
        ledger_row(),
        planned=(),
        applied=(OffsetRange(3, 100, 90),),
        manifest=accepted,
        receipt=None,
        accounts=None,
        sha256="",
        loaded_at=None,
    )


def books(row: LedgerRow | None = None, identities: tuple[Identity, ...] = HOLDS) -> ReconciledBooks:
    return ReconciledBooks(row or ledger_row(), BOOKS, identities)


def with_accounts(counts: dict[str, int]) -> LedgerRow:
    nothing = dict.fromkeys(Accounts.__struct_fields__, 0)
    records = sum(count for name, count in counts.items() if name != "gap")
    return msgspec.structs.replace(ledger_row(), accounts=Accounts(**{**nothing, **counts, "records": records}))


class Elements(html.parser.HTMLParser):
    """Collects a page's elements and its text, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += "" if "style" in self.open else data


def page_of(folder: Path, row: LedgerRow, identities: tuple[Identity, ...]) -> Elements:
    return Elements(write_report(folder, books(row, identities)).read_text(encoding="utf-8"))


def test_table_of_closed_books() -> None:
    """The verdict first, then every account with its number, then the identities spelled out."""
    table = accounts_table(books())
    assert table.startswith("Books closed: 10 records of user_signups = 5 rows + 1 duplicate + 1 dead letter + ")
    for name in Accounts.__struct_fields__:
        assert f"\n  {name} " in table
    assert "  ok      I1  partition 0: end 1010 - start 1000" in table
    assert "What to do" not in table
    assert "1,234" in table


def test_table_of_broken_books() -> None:
    """A broken identity is in the first line, marked in the list, and followed by what to do."""
    table = accounts_table(books(identities=BROKEN))
    first = table.splitlines()[0]
    assert first.startswith("Books broken: ")
    assert first.endswith("Broken: I3.")
    assert "  BROKEN  I3  records 10 = loaded 9" in table
    assert "1. Pause the DAG" in table
    assert "I3: records entered the load" in table
    assert "I1: offsets" not in table


@pytest.mark.parametrize("name", ["I1", "I2", "I3", "I4", "I5"])
def test_every_identity_has_a_next_step(name: str) -> None:
    """Whichever identity breaks, it is said what to do about that one."""
    steps = next_steps(books(identities=(Identity(name, "text", holds=False),)))
    assert any(step.startswith(f"{name}: ") for step in steps)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"loaded": 992, "dead_letters": 8}, "1,000 records of user_signups = 992 rows + 8 dead letters"),
        ({"already_loaded": 1}, "1 record of user_signups = 1 already loaded"),
        ({"loaded": 3, "gap": 600}, "3 records of user_signups = 3 rows; 600 offsets lost by Kafka, as accepted"),
        ({}, "Nothing new to load from user_signups"),
    ],
)
def test_closed_books_in_one_line(counts: dict[str, int], said: str) -> None:
    """A run's note has the equation, without the terms that are zero."""
    assert one_line(books(with_accounts(counts))) == f"Books closed: {said}"


def test_broken_books_in_one_line() -> None:
    """Broken books name their identities and claim no sum."""
    row = with_accounts({"loaded": 9, "tombstones": 1})
    assert one_line(books(row, BROKEN)) == ("Books broken: 10 records of user_signups: 9 rows, 1 tombstone. Broken: I3")


def test_hostile_text_stays_on_its_line() -> None:
    """A run id can't forge a line of the log or turn the terminal's colours."""
    table = accounts_table(books(ledger_row(HOSTILE)))
    assert len(table.splitlines()) == len(accounts_table(books()).splitlines())
    assert "\x1b" not in table
    assert "\u202e" not in table
    table.encode()


def test_the_page_needs_nothing_and_runs_nothing(tmp_path: Path) -> None:
    """No script, no external resource, a policy that forbids both; well-formed also with hostile text."""
    page = page_of(tmp_path, ledger_row(HOSTILE, topic="<b>topic</b>"), BROKEN)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "form"}
    assert not any(key in attributes for _, attributes in page.elements for key in ("src", "onclick", "onload"))
    hrefs = [attributes["href"] for _, attributes in page.elements if "href" in attributes]
    assert hrefs == [report_path(tmp_path, DAG, HOSTILE).with_suffix(".json").name]
    policies = [a.get("content") for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "<script>alert('1')</script>&\"\\n\\x1b[31m\\u202edlrow\\ud800" in page.text
    assert "<b>topic</b>" in page.text
    assert page.open == []


def test_the_page_says_what_the_table_says(tmp_path: Path) -> None:
    """Headline, names, ranges, accounts, identities, receipt, accepted losses and next steps are there."""
    page = write_report(tmp_path, books(identities=BROKEN))
    text = Elements(page.read_text()).text
    for said in (
        "Books broken",
        "What to do",
        "scheduled__2026-01-01",
        "robust_kafka_etl_pipeline",
        "main.user_signups",
        TOPIC_ID,
        "2026-01-02 03:04:05 UTC",
        "[1,002, 1,010)",
        "records 10 = loaded 9",
        "BROKEN",
        "attempt-1",
        "1,234",
        "gap:3:400:1000",
        "invalid_json",
    ):
        assert said in text, said
    assert "77" not in text, "the position of another topic id is not this partition's"


def test_a_page_leaves_out_what_there_is_not(tmp_path: Path) -> None:
    """A run that produced nothing and found nothing new has no bar, no reasons, no losses, and applied nothing."""
    row = with_accounts({})
    quiet = msgspec.structs.replace(
        row,
        applied=(OffsetRange(0, 1010, 1010),),
        manifest=msgspec.structs.replace(row.manifest, reasons={}, accepted=()),
        receipt=None,
    )
    page = page_of(tmp_path, quiet, HOLDS)
    assert "Nothing new to load from user_signups." in page.text
    assert "None: this run only loads what others produced." in page.text
    assert "nothing" in page.text
    assert not any(said in page.text for said in ("Dead letters by reason", "Losses accepted", "What to do"))
    assert not any(attributes.get("class") == "bar" for _, attributes in page.elements)


def test_json_carries_the_row_as_the_ledger_has_it(tmp_path: Path) -> None:
    """The document holds outcome, row, identities and books, and reads back as the same row."""
    page = write_report(tmp_path, books())
    document = json.loads(page.with_suffix(".json").read_text())
    assert (document["report_version"], document["outcome"]) == (1, "closed")
    assert msgspec.convert(document["row"], LedgerRow, strict=False) == ledger_row()
    assert document["partitions"][1]["position"] == 77
    assert document["dead_letter_reasons"] == {"invalid_json": 1}
    assert document["summary"].endswith(" + 2 already loaded.")


def test_a_run_has_one_report(tmp_path: Path) -> None:
    """A repeat and another plan of the run replace both files; the folder is private when it had to be made."""
    folder = tmp_path / "new" / "reports"
    write_report(folder, books())
    cleared = msgspec.structs.replace(ledger_row(), plan_id="0123456789abcdef")
    page = write_report(folder, books(cleared, BROKEN))
    assert page == report_path(folder, DAG, "scheduled__2026-01-01")
    assert set(page.parent.iterdir()) == {page, page.with_suffix(".json")}
    document = json.loads(page.with_suffix(".json").read_text())
    assert (document["outcome"], document["row"]["plan_id"]) == ("broken", "0123456789abcdef")
    assert "0123456789abcdef" in page.read_text()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_report_is_found_by_dag_and_run() -> None:
    """An ordinary run id is readable in the name, in a folder of its DAG, and nothing in it means more to a path."""
    path = report_path(Path("reports"), DAG, "scheduled__2026-01-01T00:00:00+00:00")
    batch = batch_id(DAG, "scheduled__2026-01-01T00:00:00+00:00")
    assert str(path) == f"reports/{DAG}/scheduled__2026-01-01T00_00_00+00_00.{batch}.html"


@given(st.lists(st.tuples(st.sampled_from([DAG, "a/b", "a:b", ".."]), IDS), min_size=2, max_size=2, unique=True))
def test_no_two_runs_share_a_report(runs: list[tuple[str, str]]) -> None:
    """Whatever the ids hold, a report lies two levels below the folder, under a name of its own that a disk takes."""
    paths = [report_path(Path("/reports"), *ids) for ids in runs]
    for path in paths:
        assert path.parents[1] == Path("/reports")
        assert ".." not in path.parts
        assert path.parent.name.isascii()
        assert path.name.isascii()
        assert all(len(part) < 230 and part.isprintable() for part in path.parts)
    assert str(paths[0]).lower() != str(paths[1]).lower()


def test_hostile_ids_lead_nowhere_else(tmp_path: Path) -> None:
    """Ids from a tampered ledger can't lead out of the folder, nor past what a disk takes."""
    for run_id in ("../../etc/x", "/etc/x", "x" * 250, "\u4e2d" * 250, HOSTILE, "", ".."):
        page = write_report(tmp_path / "reports", books(msgspec.structs.replace(ledger_row(run_id), pipeline="..")))
        assert page.parents[1] == tmp_path / "reports"
    assert len(list(tmp_path.glob("reports/_/*"))) == 2 * 7
    assert [path.name for path in tmp_path.iterdir()] == ["reports"]


def test_a_failed_write_keeps_the_older_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is a sentence, which may pass; the report that was there is untouched, no half file is left."""
    page = write_report(tmp_path, books())
    before = page.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("topicledger.report.files.os.fsync", full)
    said = (
        rf"writing the report in {tmp_path}: No space left on device .errno 28., [\d,]+ bytes .*are free in {tmp_path}"
    )
    with pytest.raises(RetriableError, match=said):
        write_report(tmp_path, books(identities=BROKEN))
    assert page.read_bytes() == before
    assert len(list(page.parent.iterdir())) == 2


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """A path that can't be a folder is named."""
    (tmp_path / "reports").write_text("")
    with pytest.raises(SettingsError, match="reports"):
        write_report(tmp_path / "reports", books())


@pytest.mark.parametrize("packed", [False, True])
def test_a_vendored_engine_makes_the_page(tmp_path: Path, packed: bool) -> None:
    """Copied into a dags folder, or packed into a zip of DAGs, the engine has its template with it."""
    write_dag_files(tmp_path, vendor=True)
    place = Path(shutil.make_archive(str(tmp_path / "dags"), "zip", tmp_path, "topicledger")) if packed else tmp_path
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import msgspec, topicledger\n"
        "assert topicledger.__file__.startswith(sys.argv[1])\n"
        "from topicledger.model.ledger import ReconciledBooks\n"
        "from topicledger.report.page import page\n"
        "print(page(msgspec.json.decode(sys.stdin.buffer.read(), type=ReconciledBooks), 'x.json'))"
    )
    given = msgspec.json.encode(books())
    made = subprocess.run([sys.executable, "-I", "-c", code, str(place)], input=given, capture_output=True, check=False)
    assert made.stderr == b""
    assert made.stdout.decode().strip() == page(books(), "x.json").strip()


def test_history_shows_batches_and_acceptances() -> None:
    """Both kinds of ledger rows share one table, one line each."""
    table = history_table([ledger_row(), acceptance_row()])
    assert "2026-01-02 03:04:05" in table
    assert "accepted truncated:3:90:100" in table
    assert len(table.splitlines()) == 3
