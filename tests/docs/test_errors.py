"""operations.md has every error that the engine can end a task with, in the words that the engine uses."""

from __future__ import annotations

import ast
import re

from tests.docs.messages import all_templates, raised
from tests.docs.pages import ROOT, first_spans, parsed, read, section, spans, table, tables
from topicledger import errors
from topicledger.errors import AGAIN, IntegrityError, RetriableError
from topicledger.report.failure import told
from topicledger.retries import RETRY_S

OPERATIONS = read("docs/operations.md")
SECTIONS = (
    "The DAG doesn't import",
    "The pipeline's declaration",
    "The Kafka connection",
    "Producing (`generate_and_produce_data`)",
    "Planning (`consume_and_stage_data`)",
    "Reading",
    "Staging",
    "Loading (`load_staged_data`)",
    "The warehouse",
    "Reconciling (`reconcile_batch`)",
    "In a fork",
    "The command line",
    "Warnings that don't end a task",
)

# Nothing but values: what a third party said, passed on. operations.md tells of them in words.
ONLY_VALUES = {"<> at <>: <>", "connection <>: <>"}


def documented() -> list[str]:
    """Give the shape of each sentence in the tables of errors, values as `<>`."""
    shapes = []
    for title in SECTIONS:
        text = section(OPERATIONS, title).partition("\n###")[0]
        for rows in tables(text):
            for row in rows[1:]:
                shapes += [re.sub(r"<[^<>]+>", "<>", span) for span in spans(row[0])]
    return shapes


def test_documented_sentences_are_the_codes() -> None:
    """Each sentence in the tables is part of a text in the code."""
    templates = all_templates()
    shapes = documented()
    assert len(shapes) > 100
    assert [shape for shape in shapes if not any(shape in known for known in templates)] == []


def test_every_error_is_documented() -> None:
    """For each place where an error is made there is a sentence in the tables."""
    shapes = [shape for shape in documented() if len(shape.replace("<>", "").strip()) >= 8]
    places = list(raised())
    assert len(places) > 90
    missing = [
        (place, message)
        for place, messages in places
        for message in messages
        if message not in ONLY_VALUES and not any(shape in message for shape in shapes)
    ]
    assert missing == []


def test_reasons_of_dead_letters_are_the_judges() -> None:
    """operations.md lists every reason that the judge gives, and no other."""
    given = {
        node.args[0].value
        for path in (ROOT / "src/topicledger/events").glob("*.py")
        for node in ast.walk(parsed(str(path.relative_to(ROOT))))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "RejectedRecord"
        if isinstance(node.args[0], ast.Constant)
    }
    assert set(first_spans(table(OPERATIONS, "Dead letters"))) == given


def test_steps_for_refused_settings_are_the_codes() -> None:
    """operations.md lists every next step that a refusal of the broker leads to."""
    (steps,) = [
        node.value
        for node in ast.walk(parsed("src/topicledger/kafka/failures.py"))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_SETTINGS"
    ]
    assert isinstance(steps, ast.Dict)
    listed = first_spans(table(OPERATIONS, "The Kafka connection", 1))
    assert listed == [ast.literal_eval(value) for value in steps.values]


def test_the_classes_are_those_that_end_a_task() -> None:
    """The first table has every class of error but the root and the one that never leaves its step."""
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.TopicLedgerError)
    }
    rows = tables(OPERATIONS)[0][1:]
    assert set(first_spans(rows)) == classes - {"TopicLedgerError", "RejectedRecord"}
    for row in rows:
        retriable = getattr(errors, spans(row[0])[0]).retriable
        assert retriable == row[2].startswith("retries"), row[0]


def test_the_retries_are_those_of_the_dag_file() -> None:
    """Number and longest pause of the retries are the DAG file's; the step's own patience is the engine's."""
    shared = read("src/topicledger/airflow/dags.py")
    assert '"retries": 3,' in shared
    assert "retries, 3 times by default" in OPERATIONS
    assert '"max_retry_delay": dt.timedelta(minutes=10),' in shared
    assert "pauses of up to 10 minutes" in OPERATIONS
    assert RETRY_S == 30
    assert "by itself for 30 s" in OPERATIONS


def test_the_identities_have_a_place_to_look_at() -> None:
    """For each identity there is a line on what to look at."""
    assert [row[0] for row in table(OPERATIONS, "Books that don't close")] == ["I1", "I2", "I3", "I4", "I5"]


def test_how_a_log_ends_is_the_codes() -> None:
    """Each ending in the tables is a text of the code."""
    text = section(OPERATIONS, "How a log ends")
    shapes = [re.sub("<[^<>]+>", r"\\S+", re.escape(span)) for rows in tables(text) for span in first_spans(rows[1:])]
    ended = [
        IntegrityError("it", repeat="consume"),
        IntegrityError("it", repeat="run"),
        RetriableError("it"),
        OSError(),
    ]
    ends = "".join(
        told(error, task_id="t", tasks={"load": "l"}, try_number=number, tries=2, timed_out=timed_out)
        for error in ended
        for number in (1, 2)
        for timed_out in (False, True)
    )
    assert len(shapes) == 7
    assert [shape for shape in shapes if not re.search(shape, ends)] == []
    assert AGAIN["consume"] in spans(text)
