import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.patterns import PATTERN_LENGTH_MAX, PatternError, PatternFlag, compile_pattern

BACK_REFERENCE = r"(\w)\1"


def test_re2_runs_what_it_can_and_regex_the_rest() -> None:
    assert compile_pattern(r"\d+").engine == "re2"
    assert compile_pattern(r"a(?=b)").engine == "regex"
    assert compile_pattern(BACK_REFERENCE).engine == "regex"


@pytest.mark.parametrize("text", [r"(?<y>\d+)-(\w)", r"(?<y>\d+)-(\w)(?=.|$)"])
def test_both_engines_give_the_same_matches(text: str) -> None:
    match = compile_pattern(text).search("é😀12-ab")

    assert match is not None
    assert (match.start(), match.end()) == (2, 6)
    assert match.groups() == ("12", "a")
    assert match.group("y") == match.group(1) == "12"


def test_positions_count_characters_in_every_match() -> None:
    found = [match.start() for match in compile_pattern("ä").finditer("ä€ä😀ä")]

    assert found == [0, 2, 4]


@pytest.mark.parametrize("text", ["", "(?=)"])
def test_empty_matches_never_fall_inside_a_character(text: str) -> None:
    assert [match.start() for match in compile_pattern(text).finditer("é€😀")] == [0, 1, 2, 3]


def test_group_that_took_no_part_is_none() -> None:
    match = compile_pattern("(a)|(b)").fullmatch("b")

    assert match is not None and match.groups() == (None, "b")


def test_unknown_group_is_named() -> None:
    match = compile_pattern("(a)").search("a")

    assert match is not None
    with pytest.raises(IndexError, match="group '2' does not exist; there are 1"):
        match.group(2)


@pytest.mark.parametrize("text", ["[a-c]+", "[a-c]+(?!x)"])
def test_fullmatch_needs_the_whole_text(text: str) -> None:
    pattern = compile_pattern(text)

    assert pattern.matches("abc") and pattern.fullmatch("abc")
    assert not pattern.matches("abcd") and pattern.fullmatch("abcd") is None
    assert pattern.found_in("abcd") and not pattern.found_in("xyz")


@pytest.mark.parametrize("tail", ["", "(?=.|$)"])
def test_flags_change_how_a_pattern_is_read(tail: str) -> None:
    assert compile_pattern("A" + tail, PatternFlag.IGNORE_CASE).found_in("a")
    assert compile_pattern("a.b" + tail, PatternFlag.DOT_ALL).found_in("a\nb")
    assert compile_pattern("^b" + tail, PatternFlag.MULTILINE).found_in("a\nb")
    assert not compile_pattern("^b" + tail).found_in("a\nb")


def test_literal_pattern_means_its_characters() -> None:
    pattern = compile_pattern("a.(b", PatternFlag.LITERAL)

    assert pattern.matches("a.(b") and not pattern.found_in("axb")


def test_java_classes_and_quotes_are_understood() -> None:
    found = compile_pattern("[a-z&&[^b]]+").search("abc")
    assert found is not None
    assert found.group() == "a"
    assert compile_pattern(r"\Qa.b\E(?=c)").found_in("a.bc")
    assert compile_pattern(r"a\z(?=)").found_in("ba")


@pytest.mark.parametrize(
    ("pattern", "replacement", "text", "result"),
    [
        ("(a)(b)?", "[$1$2]", "ab a", "[ab] [a]"),
        ("(?<who>b+)", "<${who}>", "abba", "a<bb>a"),
        ("b", r"\$\\1", "abc", r"a$\1c"),
        ("(b)", "$12", "abc", "ab2c"),
        ("x*", "-", "abc", "-a-b-c-"),
        (r"(\w)\1", "$1", "aabbc", "abc"),
    ],
)
def test_replacement_is_javas(pattern: str, replacement: str, text: str, result: str) -> None:
    assert compile_pattern(pattern).sub(replacement, text) == result


def test_sub_stops_after_count() -> None:
    assert compile_pattern("a").sub("b", "aaa", count=2) == "bba"


@pytest.mark.parametrize(
    ("replacement", "words"),
    [
        ("$2", "replacement '\\$2' refers to group 2; the pattern has 1"),
        ("${x}", "refers to group 'x'; the pattern's named groups are: 'n'"),
        ("a$", "has a lone '\\$' at position 2"),
        ("a\\", "has a lone '\\\\' at position 2"),
    ],
)
def test_bad_replacement_is_named(replacement: str, words: str) -> None:
    with pytest.raises(PatternError, match=words):
        compile_pattern("(?<n>a)").sub(replacement, "a")


def test_result_is_bounded() -> None:
    with pytest.raises(PatternError, match="makes a text of more than 100 characters"):
        compile_pattern("a").sub("b" * 60, "aa", limit=100)


def test_replacing_ends_at_its_time_limit() -> None:
    with pytest.raises(PatternError, match="replacing 'a' takes longer than 0 s on this text"):
        compile_pattern("a").sub("b", "a" * 1000, seconds=0)


def test_pattern_that_neither_engine_takes_shows_why() -> None:
    with pytest.raises(PatternError, match=r"is '\(', which is not a regular expression: missing"):
        compile_pattern("(")


def test_too_long_pattern_is_refused() -> None:
    with pytest.raises(PatternError, match="is a pattern of 10,001 characters; at most 10,000"):
        compile_pattern("a" * (PATTERN_LENGTH_MAX + 1))


def test_backtracking_ends_at_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.patterns.TIME_LIMIT_SECONDS", 0.05)
    with pytest.raises(PatternError, match="takes longer than 0.05 s on this text"):
        compile_pattern(r"^(?=(a|a|aa)+$)(a|a|aa)+$").matches("a" * 60 + "b")


def test_same_text_gives_the_same_pattern() -> None:
    assert compile_pattern("abc") is compile_pattern("abc")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [("a,b", ["a", "b"]), (",a,,", ["", "a"]), ("", [""]), ("abc", ["abc"]), (",", [])],
)
def test_split_leaves_out_empty_texts_at_the_end(text: str, pieces: list[str]) -> None:
    assert compile_pattern(",").split(text) == pieces


@given(st.text(max_size=20), st.text(max_size=20))
@example("\ud800", "\ud800")  # a lone surrogate has no UTF-8
def test_any_pattern_works_or_is_refused(pattern: str, text: str) -> None:
    try:
        compiled = compile_pattern(pattern)
        found = list(compiled.finditer(text))
        assert compiled.found_in(text) == bool(found)
        assert all(0 <= match.start() <= match.end() <= len(text) for match in found)
    except PatternError as error:
        assert str(error)


@given(st.text(max_size=20), st.text(max_size=20))
def test_literal_sub_is_replace(text: str, new: str) -> None:
    escaped = new.replace("\\", "\\\\").replace("$", "\\$")
    pattern = compile_pattern("a.", PatternFlag.LITERAL)

    assert pattern.sub(escaped, f"{text}a.{text}") == f"{text}a.{text}".replace("a.", new)
