"""What a dead letter says can be stored by every warehouse."""

from __future__ import annotations

import msgspec
import pytest

from topicledger.events.rejections import rejection, storable


class Tagged(msgspec.Struct, tag="known"):
    """An event whose type is named in it; msgspec quotes another name as it is."""


def test_a_quoted_nul_is_spelled_out() -> None:
    """A sentence that quotes a value with U+0000, which PostgreSQL's text can't hold, has it spelled out."""
    value = b'{"type": "D\\u0000E"}'
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.json.decode(value, type=Tagged)
    assert "\0" in str(refused.value)
    said = str(rejection(value, refused.value))
    assert "\0" not in said
    assert "D\\u0000E" in said


def test_a_long_sentence_keeps_its_ends() -> None:
    """Of a sentence that quotes a large value the beginning and the place at its end are kept."""
    said = storable("It starts so" + "x" * 10_000 + " - at `$.country`")
    assert said.startswith("It starts so")
    assert said.endswith("at `$.country`")
    assert len(said) <= 500


@pytest.mark.fault(160, "dead letter")
def test_framed_bytes_in_a_json_pipeline_say_what_to_declare() -> None:
    """What begins with Confluent's framing isn't called broken JSON: the schema's id is named, and the formats."""
    value = b"\0\0\0\0\x07\x02\x06abc"
    with pytest.raises(msgspec.DecodeError) as refused:
        msgspec.json.decode(value)
    rejected = rejection(value, refused.value)
    assert rejected.reason == "framed"
    assert "schema id 7: declare format=Avro(...)" in str(rejected)
