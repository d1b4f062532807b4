import pytest

from processors.java_pattern import canonical, java_pattern, unicode_classes
from runtime.patterns import PatternError, PatternFlag


def found(pattern, text, flags=PatternFlag.NONE, unix_lines=False):
    compiled = java_pattern(pattern, flags, unix_lines=unix_lines).for_text(text)
    return [match.group() for match in compiled.finditer(text)]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("^(.*)$", "a\n", ["a"]),
        ("a$", "a\r\n", ["a"]),
        ("a$", "a\n\n", []),
        ("a$", "a", ["a"]),
        (".+", "a\rb\r\n", ["a", "b"]),
        ("(?s).+", "a\rb\r\n", ["a\rb\r\n"]),
        ("(?m)^.+$", "a\r\nb\rc\n", ["a", "b", "c"]),
        ("(?m)^", "\n", [""]),
        ("[.$]+", "a.$\n", [".$"]),
        (r"\$\.$", "$.\n", ["$."]),
        (r"\Qa.$\E$", "a.$\n", ["a.$"]),
        (r"a\r$", "a\r\n", []),
    ],
)
def test_line_ends_are_javas(pattern, text, expected):
    assert [one for one in found(pattern, text) if one or pattern == "(?m)^"] == expected


def test_unix_lines_end_only_at_a_newline():
    assert found("a.b$", "a\rb\n", unix_lines=True) == ["a\rb"]
    assert found("a.b$", "a\rb\n") == []
    assert found("a$", "a\r", unix_lines=True) == []


def test_dot_matches_everything_where_told():
    assert found("a.b", "a\nb\n", PatternFlag.DOT_ALL) == ["a\nb"]


def test_literal_is_not_spelt_anew():
    assert found("a.$", "a.$\n", PatternFlag.LITERAL) == ["a.$"]


def test_text_without_line_ends_runs_on_the_pattern_as_it_was_written():
    pattern = java_pattern("^(.*)$")

    assert pattern.for_text("abc") is pattern.plain
    assert pattern.plain.engine == "re2"
    assert pattern.for_text("abc\n") is pattern.exact


def test_pattern_without_dot_and_dollar_has_one_form():
    pattern = java_pattern("a+")

    assert pattern.exact is pattern.plain
    assert pattern.found_in("ba\r\n")
    assert pattern.matches("aa")
    assert pattern.search("baa\n").start() == 1


def test_bad_pattern_is_refused():
    with pytest.raises(PatternError, match="is not a regular expression"):
        java_pattern("(a")


def test_unicode_classes_are_spelt_out_inside_and_outside_of_sets():
    for text in ("\u00e4", "\u0663", "_"):
        assert java_pattern(unicode_classes(r"\w")).matches(text)
        assert java_pattern(unicode_classes(r"[\w-]")).matches(text)
        assert not java_pattern(unicode_classes(r"\W")).matches(text)
    assert java_pattern(unicode_classes(r"\s")).matches("\u2003")
    assert unicode_classes(r"\\w\.") == r"\\w\."


def test_canonical_text_is_composed():
    assert canonical("a\u0308") == "\u00e4"
