"""The report: what is said of closed, broken, unchecked and accepted rows; hostile text stays text."""

from __future__ import annotations

import datetime as dt
import html.parser
import json
import stat
from pathlib import Path

import msgspec
import pytest

from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.model.accounts import Accounts, Identity, PartitionBooks
from topicledger.model.ledger import LedgerRow, ReconciledBooks
from topicledger.model.manifest import Acceptance, Manifest, StagedFile, StagedPartition
from topicledger.model.plan import OffsetRange, Receipt
from topicledger.report import accounts_table, write_report
from topicledger.report.history import history_table
from topicledger.report.markup import Markup, element
from topicledger.report.verdict import verdict_on

TOPIC_ID = "mPqZ3xQkT5SxAbCdEfGhIj"
HOSTILE = "manual__<script>alert('1')</script>&\"\n\x1b[31m\u202edlrow\ud800"
FILE = StagedFile("rows.csv", size_bytes=1, sha256="0" * 64, records=0, block_bytes=1)
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
        pipeline="robust_kafka_etl_pipeline",
        target="main.user_signups",
        run_id=run_id,
        topic=topic,
        topic_id=TOPIC_ID,
        partitions=(StagedPartition(0, 1000, 1010, 0, None, None, (), gap=0, records=10, invisible=0),),
        rows=FILE,
        dead_letters=FILE,
        tombstones=FILE,
        jumps=FILE,
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
    return Elements(write_report(folder, books(row, identities)).html.read_text(encoding="utf-8"))


def test_table_of_closed_books() -> None:
    """The verdict first, then every account with its number, then the identities spelled out."""
    table = accounts_table(books(ledger_row(), HOLDS))
    assert table.startswith("Books closed: 10 records of user_signups: 5 loaded, 1 duplicates, 1 dead letters,")
    for name in Accounts.__struct_fields__:
        assert f"\n  {name} " in table
    assert "  ok      I1  partition 0: end 1010 - start 1000" in table
    assert "What to do" not in table
    assert "1,234" in table


def test_table_of_broken_books() -> None:
    """A broken identity is in the first line, marked in the list, and followed by what to do."""
    table = accounts_table(books(ledger_row(), BROKEN))
    first = table.splitlines()[0]
    assert first.startswith("Books broken: ")
    assert first.endswith("Broken: I3.")
    assert "  BROKEN  I3  records 10 = loaded 9" in table
    assert "1. Pause the DAG" in table
    assert "I3: records entered the load" in table
    assert "I1: offsets" not in table


@pytest.mark.parametrize("name", ["I1", "I2", "I3", "I4", "I5"])
def test_every_identity_has_a_next_step(name: str) -> None:
    """Whichever identity breaks, the verdict says what to do about that one."""
    verdict = verdict_on(ledger_row(), (Identity(name, "text", holds=False),))
    assert any(step.startswith(f"{name}: ") for step in verdict.next_steps)


def test_nothing_is_claimed_without_identities() -> None:
    """A row whose identities were not evaluated isn't called closed."""
    assert accounts_table(books(ledger_row(), ())).startswith("Books not checked: ")


def test_an_empty_batch_is_said_plainly() -> None:
    """No records is a sentence, not a row of zeros."""
    row = ledger_row()
    assert row.accounts is not None
    empty = msgspec.structs.replace(row, accounts=Accounts(0, 0, 0, 0, 0, 0, 0, 0, None, None, 0, 0, 0))
    assert accounts_table(books(empty, HOLDS)).startswith("Books closed: Nothing new to load from user_signups.")


def test_an_acceptance_is_no_batch(tmp_path: Path) -> None:
    """A row that records an accepted loss has no accounts and says what was accepted."""
    assert accounts_table(books(acceptance_row(), HOLDS)).startswith("Loss accepted: ")
    text = page_of(tmp_path, acceptance_row(), HOLDS).text
    assert "truncated:3:90:100" in text
    assert "set back by 10" in text
    assert "Receipt" not in text


def test_hostile_text_stays_on_its_line() -> None:
    """A run id can't forge a line of the log or turn the terminal's colours."""
    table = accounts_table(books(ledger_row(HOSTILE), HOLDS))
    assert len(table.splitlines()) == len(accounts_table(books(ledger_row(), HOLDS)).splitlines())
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
    assert hrefs == ["6a1f0c4be2d97a35.c0ffee0123456789.json"]
    policies = [a.get("content") for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "<script>alert('1')</script>&\"\\n\\x1b[31m\\u202edlrow\\ud800" in page.text
    assert "<b>topic</b>" in page.text
    assert page.open == []


def test_the_page_says_what_the_table_says(tmp_path: Path) -> None:
    """Headline, names, ranges, accounts, identities, receipt, accepted losses and next steps are there."""
    paths = write_report(tmp_path, books(identities=BROKEN))
    text = Elements(paths.html.read_text()).text
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


def test_json_carries_the_row_as_the_ledger_has_it(tmp_path: Path) -> None:
    """The document holds outcome, row, identities and books, and reads back as the same row."""
    paths = write_report(tmp_path, books(identities=HOLDS))
    document = json.loads(paths.json.read_text())
    assert (document["report_version"], document["outcome"]) == (1, "closed")
    assert msgspec.convert(document["row"], LedgerRow, strict=False) == ledger_row()
    assert document["partitions"][1]["position"] == 77
    assert document["dead_letter_reasons"] == {"invalid_json": 1}
    assert paths.json.name == "6a1f0c4be2d97a35.c0ffee0123456789.json"


def test_a_repeat_replaces_both_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    """A retry writes the same two names; the folder is private when it had to be made."""
    folder = tmp_path / "new" / "reports"
    write_report(folder, books(identities=HOLDS))
    paths = write_report(folder, books(identities=BROKEN))
    assert sorted(path.name for path in folder.iterdir()) == sorted([paths.json.name, paths.html.name])
    assert json.loads(paths.json.read_text())["outcome"] == "broken"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_failed_write_keeps_the_older_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is a sentence, which may pass; the report that was there is untouched, no half file is left."""
    paths = write_report(tmp_path, books(identities=HOLDS))
    before = paths.json.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("topicledger.report.files.os.fsync", full)
    said = (
        rf"writing the report in {tmp_path}: No space left on device .errno 28., [\d,]+ bytes .*are free in {tmp_path}"
    )
    with pytest.raises(RetriableError, match=said):
        write_report(tmp_path, books(identities=BROKEN))
    assert paths.json.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """A path that can't be a folder is named."""
    (tmp_path / "reports").write_text("")
    with pytest.raises(SettingsError, match="reports"):
        write_report(tmp_path / "reports", books(identities=HOLDS))


def test_an_id_that_is_a_path_is_refused(tmp_path: Path) -> None:
    """An id from a tampered ledger can't lead out of the folder."""
    row = msgspec.structs.replace(ledger_row(), batch_id="../../etc/x")
    with pytest.raises(IntegrityError, match="etc"):
        write_report(tmp_path, books(row))
    assert list(tmp_path.iterdir()) == []


def test_markup_escapes_all_that_it_didnt_make() -> None:
    """Text and attributes are escaped, elements are not escaped again."""
    made = element("p", "<&>", element("b", "x"), title='"<', class_="c")
    assert made == '<p title="&quot;&lt;" class="c">&lt;&amp;&gt;<b>x</b></p>'
    assert isinstance(made, Markup)


def test_history_shows_batches_and_acceptances() -> None:
    """Both kinds of ledger rows share one table, one line each."""
    table = history_table([ledger_row(), acceptance_row()])
    assert "2026-01-02 03:04:05" in table
    assert "accepted truncated:3:90:100" in table
    assert len(table.splitlines()) == 3
