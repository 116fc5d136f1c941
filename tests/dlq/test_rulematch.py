"""Patterns of fingerprint rules, held against a regular expression that says the same."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlq.fingerprint import masked
from dlq.rulematch import (
    ANYTHING,
    MAX_VALUE,
    VALUE,
    PatternError,
    compile_pattern,
    from_title,
    in_common,
    mask_count,
    readable,
    trimmed,
)

LITERALS = st.text(alphabet="abC 1.", max_size=4)
MESSAGES = st.text(alphabet="abC 1.", max_size=24)


def oracle(parts: tuple[str, ...], message: str) -> tuple[bool, str]:
    made = "".join({ANYTHING: "(?:.*?)", VALUE: "(?P<value>.+?)"}.get(part, re.escape(part)) for part in parts)
    found = re.fullmatch(made, message, re.DOTALL)
    return (False, "") if found is None else (True, (found.groupdict().get("value") or ""))


@given(st.lists(LITERALS, min_size=1, max_size=5), st.integers(0, 4), st.booleans(), MESSAGES)
def test_matching_agrees_with_a_regular_expression(literals: list[str], at: int, is_split: bool, message: str) -> None:
    wildcards = [ANYTHING] * (len(literals) - 1)
    if is_split and wildcards:
        wildcards[at % len(wildcards)] = VALUE
    text = "".join(part for pair in zip(literals, [*wildcards, ""], strict=True) for part in pair)
    try:
        pattern = compile_pattern(text, is_split=is_split)
    except PatternError:
        return
    message = readable(message)
    found = pattern.match(message)
    if not pattern.text:
        assert found is not None
        return
    is_match, value = oracle(pattern.parts, message)
    assert (found is not None) == is_match
    if found is not None:
        assert found.value == (trimmed(value) if pattern.has_value else "")


@given(MESSAGES, st.text(alphabet="xyz", min_size=1, max_size=5))
def test_what_a_pattern_is_made_of_matches_it(before: str, value: str) -> None:
    pattern = compile_pattern(f"{before} field {VALUE} is wrong*", is_split=True)
    found = pattern.match(readable(f"{before} field “{value}” is wrong, at last"))
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(
    ("pattern", "message", "value"),
    [
        ("Property {value} is not valid", "Property 'phone' is not valid", "phone"),
        ("Property {value} is not valid", "Property  is not valid", None),
        ("Property {value} is not valid", "Property phone is not valid.", None),
        ("Property {value} is not valid*", "Property phone is not valid.", "phone"),
        ("{value} is missing", "the last name is missing", "the last name"),
        ("missing: {value}", "missing: a, b and c", "a, b and c"),
        ("*field {value}: *", "the field a: field b: c", "a"),
        ("a*b", "ab", None),
        ("value a*b", "value ab", ""),
        ("value a*b", "value a b c b", ""),
        ("value aba*aba", "value aba", None),  # both ends must fit beside each other
        ("same text", "same text", ""),
        ("same text", "same text.", None),
    ],
)
def test_pattern_examples(pattern: str, message: str, value: str | None) -> None:
    is_split = VALUE in pattern
    try:
        found = compile_pattern(pattern, is_split=is_split).match(readable(message))
    except PatternError:
        assert value is None
        return
    assert (None if found is None else found.value) == value


@pytest.mark.parametrize(
    ("pattern", "is_split", "words"),
    [
        ("Property is not valid", True, "needs {value} once"),
        ("{value} and {value} differ", True, "needs {value} once"),
        ("Property {value} is not valid", False, "no {value}"),
        ("not valid *{value}", True, "directly beside"),
        ("not valid {value}*", True, "directly beside"),
        ("*", False, "fewer than 3"),
        ("a*b", False, "fewer than 3"),
        ("* . - *", False, "fewer than 3"),
        ("a" * 501, False, "at most 500"),
        ("text" + " a*" * 30, False, "more than 20 places"),
        ("text\x00", False, "control character"),
        ("text\ud800", False, "control character"),
    ],
)
def test_a_bad_pattern_is_refused_in_words(pattern: str, is_split: bool, words: str) -> None:
    with pytest.raises(PatternError, match=re.escape(words)):
        compile_pattern(pattern, is_split=is_split)


def test_blanks_and_doubled_stars_are_one() -> None:
    assert compile_pattern("  not \n valid ** here ", is_split=False).text == "not valid * here"
    assert compile_pattern("", is_split=False).match("whatever") is not None


def test_a_hostile_pair_is_matched_in_linear_time() -> None:
    pattern = compile_pattern("aaa" + "*aaaaaaaa" * 20 + "b", is_split=False)
    started = time.process_time()
    for _ in range(200):
        assert pattern.match(readable("a" * 2_000)) is None
    assert time.process_time() - started < 1.0


def test_a_value_is_cut_and_bare() -> None:
    assert trimmed("“phone”,") == "phone"
    assert trimmed("  'a  b' ") == "a b"
    assert len(trimmed("x" * 500)) == MAX_VALUE


MESSAGE = "Property 'phone' value '+49 {}' is not valid for contact {}"


def test_the_pattern_of_a_title_matches_the_messages_it_was_made_of() -> None:
    title = masked(MESSAGE.format(1, 2))
    assert mask_count(title) == 3
    for number in (111, 222):
        message = readable(MESSAGE.format(number, number))
        assert compile_pattern(from_title(title), is_split=False).match(message)
        found = compile_pattern(from_title(title, value_at=0), is_split=True).match(message)
        assert found is not None
        assert found.value == "phone"


def test_what_titles_have_in_common_matches_all_of_them() -> None:
    messages = ["Property 'phone' is not valid for Contact 17", "Property 'mail' is not a legal text for Company 9"]
    pattern = compile_pattern(in_common(map(masked, messages)), is_split=False)
    assert "Property" in pattern.text
    assert all(pattern.match(readable(message)) for message in messages)
    assert in_common(["abc", "xyz"]) == ANYTHING


WORDS = st.lists(st.sampled_from(["Property", "value", "is", "not", "valid", "“x”", "17", "for", "a.b", "*", "…"]), max_size=12)


@given(WORDS, WORDS)
def test_common_patterns_always_match_what_they_were_made_of(left: list[str], right: list[str]) -> None:
    messages = [" ".join(left), " ".join(right)]
    try:
        pattern = compile_pattern(in_common(map(masked, messages)), is_split=False)
    except PatternError:
        return
    assert all(pattern.match(readable(message)) for message in messages)
