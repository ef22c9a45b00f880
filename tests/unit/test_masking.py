"""A secret's forms: what is masked is what a log would show."""

from __future__ import annotations

import json
from urllib.parse import quote

from topicledger.masking import forms_of


def test_every_form_is_given() -> None:
    """A secret is given as it is, as JSON and Python escape it, as a URI encodes it, and line by line."""
    secret = "p\"\\'ä/ ss\n" + "x" * 40
    expected = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe=""), "x" * 40}
    assert expected <= set(forms_of(secret))


def test_the_frame_of_a_key_is_no_secret() -> None:
    """Of a PEM the lines that every PEM has are not masked."""
    pem = "-----BEGIN PRIVATE KEY-----\n" + "M" * 64 + "\n-----END PRIVATE KEY-----\n"
    found = forms_of(pem)
    assert "M" * 64 in found
    assert not [text for text in found if text.startswith("-----") and "M" not in text]


def test_nothing_is_no_secret() -> None:
    """An empty password masks nothing: an empty mask would hide every log."""
    assert forms_of("") == []
