import pytest

from processors.text import ReplaceText, references, substituted
from processors.text_lines import BLOCK_BYTES
from runtime.testing import TestRunner, check_processor

WHOLE = {"Evaluation Mode": "Entire text"}


def replace(properties, content, **attributes):
    runner = TestRunner(ReplaceText, properties)
    assert runner.problems == []
    runner.enqueue(content, attributes)
    runner.run()
    return runner


def replaced(properties, content, **attributes):
    return replace(properties, content, **attributes).one("success").content


def strategy(name, value=None, **more):
    chosen = {"Replacement Strategy": name} | more
    return chosen if value is None else chosen | {"Replacement Value": value}


def regex(search, value):
    return {"Search Value": search, "Replacement Value": value}


def literal(search, value):
    return strategy("Literal Replace", value) | {"Search Value": search}


def test_processor_keeps_the_rules():
    check_processor(ReplaceText)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize(
    ("properties", "one", "two"),
    [
        (strategy("Prepend", "_"), b"_a", b"_b"),
        (strategy("Append", "_"), b"a_", b"b_"),
        (strategy("Surround") | {"Text to Prepend": "<", "Text to Append": ">"}, b"<a>", b"<b>"),
        (strategy("Always Replace", "x"), b"x", b"x"),
        (literal("b", "x"), b"a", b"x"),
        (regex("[ab]", "x$0"), b"xa", b"xb"),
    ],
)
def test_lines_are_edited_and_keep_their_ends(properties, one, two, end):
    assert replaced(properties, b"a" + end + b"b" + end) == one + end + two + end
    assert replaced(properties, b"a" + end + b"b") == one + end + two


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (strategy("Prepend", "_"), b"_a\nb\n"),
        (strategy("Append", "_"), b"a\nb\n_"),
        (strategy("Surround") | {"Text to Prepend": "<", "Text to Append": ">"}, b"<a\nb\n>"),
        (strategy("Always Replace", "x"), b"x"),
        (literal("a\nb", "x"), b"x\n"),
        (regex("a\nb", "x"), b"x\n"),
        (regex("(?s)(^.*$)", ""), b""),
        (regex("(?s)^.*", "<$0>"), b"<a\nb\n>"),
    ],
)
def test_whole_text_is_edited(properties, expected):
    assert replaced(properties | WHOLE, b"a\nb\n") == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("All", b"_a\n_b\n_c"),
        ("First-Line", b"_a\nb\nc"),
        ("Last-Line", b"a\nb\n_c"),
        ("Except-First-Line", b"a\n_b\n_c"),
        ("Except-Last-Line", b"_a\n_b\nc"),
    ],
)
def test_only_chosen_lines_are_edited(mode, expected):
    properties = strategy("Prepend", "_", **{"Line-by-Line Evaluation Mode": mode})

    assert replaced(properties, b"a\nb\nc") == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("First-Line", b"_a"), ("Last-Line", b"_a"), ("Except-First-Line", b"a"),
     ("Except-Last-Line", b"a")],
)  # fmt: skip
def test_only_line_is_the_first_and_the_last(mode, expected):
    properties = strategy("Prepend", "_", **{"Line-by-Line Evaluation Mode": mode})

    assert replaced(properties, b"a") == expected


@pytest.mark.parametrize("mode", ["All", "First-Line", "Last-Line", "Except-Last-Line"])
def test_large_content_is_edited_like_a_small_one(mode):
    properties = literal("x", "yz") | {"Line-by-Line Evaluation Mode": mode}
    lines = [b"x" * 999 + b"\n"] * (BLOCK_BYTES // 500)
    chosen = {"All": slice(None), "First-Line": slice(1), "Last-Line": slice(-1, None),
              "Except-Last-Line": slice(-1)}[mode]  # fmt: skip
    expected = list(lines)
    expected[chosen] = [line.replace(b"x", b"yz") for line in expected[chosen]]

    assert replaced(properties, b"".join(lines)) == b"".join(expected)


@pytest.mark.parametrize("name", ["Prepend", "Append"])
def test_large_content_is_added_to_as_a_whole(name):
    content = b"x" * (BLOCK_BYTES + 10)
    expected = b"_" + content if name == "Prepend" else content + b"_"

    assert replaced(strategy(name, "_") | WHOLE, content) == expected


def test_empty_content_has_no_lines_to_edit():
    assert replaced(strategy("Prepend", "_"), b"") == b""
    assert replaced(strategy("Prepend", "_") | WHOLE, b"") == b"_"
    assert replaced(regex(".*", "x") | WHOLE, b"") == b"x"


def test_default_leaves_text_as_it_is_and_writes_nothing():
    runner = replace({}, b"a\nb\r\n\xff")

    result = runner.one("success")
    assert result.content == b"a\nb\r\n\xff"
    assert not any(record.rewritten for record in runner.commits)


def test_expressions_see_groups():
    properties = regex('"([a-z]+?)":"(.*?)"', '"${\'$1\':toUpper()}":"$2"')

    assert replaced(properties, b'{"name":"Ana","city":"Porto"}') == (
        b'{"NAME":"Ana","CITY":"Porto"}'
    )


@pytest.mark.parametrize(
    ("search", "value", "expected"),
    [
        ("(b)", "[$1]", b"a[b]c"),
        ("(b)", "$123", b"ab23c"),
        ("b", "$0123", b"ab123c"),
        ("(b)", "$1$2", b"ab$2c"),
        ("b", "$5", b"a$5c"),
        ("(b)", "$x", b"a$xc"),
        ("(b)", "$x$1", b"a$x$1c"),
        ("(b)", "\\$1", b"a$1c"),
        ("(b)", "\\\\", b"a\\c"),
        ("(b)", "a\\$b", b"aa\\$bc"),
        ("(b)|(z)", "<$2>", b"a<>c"),
        ("", "-", b"-a-b-c-"),
        ("z", "y", b"abc"),
    ],
)
def test_references_in_a_replacement(search, value, expected):
    assert replaced(regex(search, value), b"abc") == expected


def test_values_of_expressions_are_no_references_and_no_syntax():
    assert replaced(regex("(b)", "[${v}]"), b"abc", v="$1 \\ $x") == b"a[$1 \\ $x]c"
    assert replaced(regex("${v}", "x"), b"a.c abc", v="a.c") == b"x abc"


def test_line_end_may_be_replaced():
    assert replaced(regex("\\r?\\n", ";"), b"a\r\nb\n") == b"a;b;"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_dollar_matches_before_the_end_of_a_line(end):
    assert replaced(regex(";$", ""), b"a;b;" + end) == b"a;b" + end
    assert replaced(regex("^(.*)$", "<$1>"), b"ab" + end) == b"<ab>" + end


def test_star_alone_replaces_lines_without_searching():
    properties = regex(".*", "${v}") | {"Maximum Buffer Size": "1 B"}

    assert replaced(properties, b"long\nlonger\n", v="x") == b"x\nx\n"


def test_literal_has_no_special_characters():
    assert replaced(literal(".e", "$1"), b"hello .e") == b"hello $1"
    assert replaced(literal("${v}", "b"), b"a.a", v=".") == b"aba"


def test_literal_that_is_empty_for_a_flowfile_is_found_nowhere():
    assert replaced(literal("${none}", "b"), b"a") == b"a"


def test_variables_are_substituted():
    properties = strategy("Substitute Variables")
    content = b"${a} ${none} ${none:-default} $${a} ${b}\n${a"

    assert replaced(properties, content, a="1", b="<${a}>") == (b"1 ${none} default ${a} <1>\n${a")
    assert replaced(properties | WHOLE, b"${\n}${a}", a="1") == b"${\n}1"


def test_variables_in_a_circle_fail():
    runner = replace(strategy("Substitute Variables"), b"${a}", a="${b}", b="${a}")

    assert runner.one("failure").reason.message == (
        "Attributes refer to each other in a circle: a -> b -> a. Break it in one of them"
    )


@pytest.mark.parametrize(
    ("properties", "content", "attributes"),
    [
        (strategy("Substitute Variables"), b"${a}", {f"{name}": f"${{{next}}}" * 100
         for name, next in zip("abcdef", "bcdefg", strict=True)} | {"g": "x" * 100}),
        (regex("a", "${v}"), b"a" * 1000, {"v": "x" * 100_000}),
        (literal("a", "${v}"), b"a" * 1000, {"v": "x" * 100_000}),
    ],
)  # fmt: skip
def test_replacement_that_makes_too_much_text_fails(properties, content, attributes):
    runner = replace(properties, content, **attributes)

    assert runner.one("failure").reason.message == (
        "The replacement makes a text of more than 16,777,216 bytes out of one line or content. "
        "Make it shorter, or raise the Maximum Buffer Size"
    )
    assert runner.one("failure").content == content


@pytest.mark.parametrize("size", [101, BLOCK_BYTES + 10, 3 * BLOCK_BYTES])
@pytest.mark.parametrize("before", [1, BLOCK_BYTES // 50])
def test_too_long_a_line_fails(size, before):
    properties = regex("x", "y") | {"Maximum Buffer Size": "100 B"}
    content = (b"a" * 99 + b"\n") * before + b"x" * size
    runner = replace(properties, content)

    failed = runner.one("failure")
    assert failed.content == content
    assert failed.reason.message == (
        "The content has a line of more than 100 bytes, the Maximum Buffer Size. "
        "Raise it, or split the content before"
    )


def test_too_large_a_text_fails_unless_nothing_is_searched():
    limit = WHOLE | {"Maximum Buffer Size": "2 B"}

    assert (
        replace(regex("x", "y") | limit, b"abc")
        .one("failure")
        .reason.message.startswith("The content has a text of more than 2 bytes")
    )
    assert replaced(strategy("Append", "!") | limit, b"abc") == b"abc!"


def test_expression_that_fails_for_a_flowfile_sends_only_that_one_to_failure():
    properties = strategy("Append", "${day:toDate('yyyy'):format('yyyy')}")
    runner = TestRunner(ReplaceText, properties)
    for day in ("2024", "none", "2025"):
        runner.enqueue(b"in ", day=day)

    runner.run()

    assert [one.content for one in runner.flowfiles("success")] == [b"in 2024", b"in 2025"]
    assert runner.one("failure").reason.kind == "ExpressionError"


def test_bytes_that_are_not_text_stay_as_they_are():
    assert replaced(regex("b+", "x"), b"a\xff\xc3bb\xfe\n") == b"a\xff\xc3x\xfe\n"
    assert replaced(literal("b", "\u00e4"), b"\xffb") == b"\xff\xc3\xa4"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UTF-16LE", "<\u00e4>\n<\u20ac>"),
        ("UTF-16", "<\u00e4>\n<\u20ac>"),
        ("ISO-8859-15", "<\u00e4>\n<\u20ac>"),
        ("Shift_JIS", "<\u8868>\n<\u8868>"),
    ],
)
def test_character_set_is_honoured(name, expected):
    content = expected.replace("<", "").replace(">", "").encode(name)

    assert replaced(regex("(.)", "<$1>") | {"Character Set": name}, content) == (
        expected.encode(name)
    )


def test_character_that_the_set_lacks_becomes_a_question_mark():
    properties = regex("b", "\u20ac") | {"Character Set": "ISO-8859-1"}

    assert replaced(properties, b"ab\xe4") == b"a?\xe4"


def test_large_content_in_another_character_set():
    text = "\u00e4x\n" * BLOCK_BYTES
    properties = literal("x", "y") | {"Character Set": "UTF-16LE"}

    assert replaced(properties, text.encode("utf-16-le")) == text.replace("x", "y").encode(
        "utf-16-le"
    )


def test_large_batch_keeps_its_order():
    runner = TestRunner(ReplaceText, regex("n", "number "))
    for number in range(100):
        runner.enqueue(b"n%d" % number)

    runner.run()

    assert [one.content for one in runner.flowfiles("success")] == [
        b"number %d" % number for number in range(100)
    ]


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (literal("", "x"), "is empty; it must have the text to look for"),
        (regex("(a", "x"), "is not a regular expression"),
    ],
)
def test_search_value_is_checked_when_it_is_set(properties, message):
    (problem,) = TestRunner(ReplaceText, properties).problems

    assert problem.property == "Search Value"
    assert message in problem.message


def test_search_value_is_not_looked_at_where_nothing_is_searched():
    assert TestRunner(ReplaceText, strategy("Append", "x", **{"Search Value": "(a"})).problems == []


def test_reference_takes_the_digits_that_name_a_group():
    assert references("$12", 12) == [12]
    assert references("$12", 2) == [1, "2"]
    assert references("x$0y", 0) == ["x", 0, "y"]
    assert references("\\$1\\", 1) == ["$", "1\\"]


def test_substitution_of_a_text_without_variables_is_the_text():
    assert substituted("$ {a} }{", {"a": "1"}, 10) == "$ {a} }{"
