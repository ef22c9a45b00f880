"""operations.md has every error that the engine can end a task with, in the words that the engine uses."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from tests.docs.messages import all_templates, made
from tests.docs.pages import first_spans, parsed, read, section, sources, spans, table, tables
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
    "The schema registry",
    "Loading (`load_staged_data`)",
    "The warehouse",
    "Reconciling (`reconcile_batch`)",
    "In a fork",
    "The command line",
    "Warnings that don't end a task",
)

# What doesn't come from an error of ours ends with these.
OF_AIRFLOW = {"execution-timeout", "unexpected-error"}


def rows() -> Iterator[tuple[str, list[str]]]:
    """Give each row of the tables of errors: its code, empty where it has none, and its sentences, values as `<>`."""
    for title in SECTIONS:
        for head, *body in tables(section(OPERATIONS, title).partition("\n###")[0]):
            coded = head[0] == "code"
            for row in body:
                code = next(iter(spans(row[0])), "") if coded else ""
                yield code, [re.sub(r"<[^<>]+>", "<>", span) for span in spans(row[coded])]


def reasons() -> set[str]:
    """Give every reason that the judge gives for a dead letter."""
    return {
        node.args[0].value
        for name in sources()
        for node in ast.walk(parsed(name))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "RejectedRecord"
        if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    }


def test_each_error_has_a_code() -> None:
    """Wherever an error is made its code is written there: words in lower case, joined by hyphens."""
    places = list(made())
    assert len(places) > 200
    assert [one.place for one in places if one.code is None] == []
    codes = {one.code or "" for one in places}
    assert [code for code in codes if not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", code)] == []


def test_each_code_is_an_anchor_once() -> None:
    """operations.md has one anchor for each code and each reason of a dead letter, beside it the code, and no other."""
    anchors = re.findall(r'<a id="([^"]*)"></a>`([^`]*)`', OPERATIONS)
    assert len(anchors) == OPERATIONS.count("<a id=")
    assert [anchor for anchor, code in anchors if anchor != code] == []
    codes = {one.code or "" for one in made()}
    assert sorted(anchor for anchor, _ in anchors) == sorted(codes | reasons() | OF_AIRFLOW)


def test_documented_sentences_are_the_codes() -> None:
    """Each sentence in the tables is part of a text in the code."""
    templates = all_templates()
    assert [shape for _, shapes in rows() for shape in shapes if not any(shape in known for known in templates)] == []


def test_every_error_is_documented() -> None:
    """Whatever sentence an error has stands in a row of its code: so a code is one kind of failure."""
    documented: defaultdict[str, list[str]] = defaultdict(list)
    for code, shapes in rows():
        documented[code] += shapes
    missing = [
        (one.place, message)
        for one in made()
        for message in one.messages
        if not any(shape in message for shape in documented[one.code or ""])
    ]
    assert missing == []


def test_reasons_of_dead_letters_are_the_judges() -> None:
    """operations.md lists every reason that the judge gives, and no other."""
    assert set(first_spans(table(OPERATIONS, "Dead letters"))) == reasons()


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
    told_of = [spans(" ".join(row[: len(row) // 2])) for _, *body in tables(text) for row in body]
    shapes = [re.sub("<[^<>]+>", r"\\S+", re.escape(span)) for said in told_of for span in said]
    ended = [
        IntegrityError("it", code="c", repeat="consume"),
        IntegrityError("it", code="c", repeat="run"),
        RetriableError("it", code="c"),
        OSError(),
    ]
    ends = "".join(
        told(error, task_id="t", tasks={}, try_number=number, tries=2, timed_out=timed_out)
        for error in ended
        for number in (1, 2)
        for timed_out in (False, True)
    )
    assert len(shapes) == 9
    assert [shape for shape in shapes if not re.search(shape, ends)] == []
    assert AGAIN["consume"] in spans(text)
