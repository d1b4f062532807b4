from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.expression import Environment, ExpressionError, compile_expression
from runtime.flowfile import FlowFile, Identity

Evaluate = Any
ENVIRONMENT = Environment(identity=Identity(1), variables={})


@pytest.mark.parametrize(
    ("call", "subject", "result"),
    [
        ("escapeJson()", '"\\/\b\n\t\f\r\x01', r'\"\\\/\b\n\t\f\r\u0001'),
        ("escapeJson()", "aé😀", r"a\u00E9\uD83D\uDE00"),
        ("unescapeJson()", '\\"\\u00e9\\uD83D\\uDE00\\n\\x', '"é😀\nx'),
        ("escapeXml()", "<a b=\"c\" d='e'>&\x01", "&lt;a b=&quot;c&quot; d=&apos;e&apos;&gt;&amp;"),
        ("unescapeXml()", "&lt;&#65;&#x42;&apos;&eacute;", "<AB'&eacute;"),
        ("escapeCsv()", 'a,"b"', '"a,""b"""'),
        ("escapeCsv()", "plain", "plain"),
        ("unescapeCsv()", '"a,""b"""', 'a,"b"'),
        ("unescapeCsv()", '"plain"', '"plain"'),
        ("escapeHtml3()", "<é♣>", "&lt;&eacute;♣&gt;"),
        ("escapeHtml4()", "<é♣>", "&lt;&eacute;&clubs;&gt;"),
        ("unescapeHtml3()", "&eacute;&clubs;", "é&clubs;"),
        ("unescapeHtml4()", "&eacute;&clubs;&#99999999;", "é♣&#99999999;"),
        ("urlEncode()", "a b~*é/", "a+b%7E*%C3%A9%2F"),
        ("urlDecode()", "a+b%20%C3%A9", "a b é"),
        ("base64Encode()", "admin:é", "YWRtaW46w6k="),
        ("base64Decode()", "YWRtaW46w6k", "admin:é"),
        ("hash('MD5')", "john", "527bd5b5d689e2c32ae974c6229ff785"),
        ("hash('SHA-512/256')", "",
         "c672b8d1ef56ed28ab87c3622c5114069bdd3ad7b8f9737498d0c01ecef0967a"),
        ("UUID3('6ba7b810-9dad-11d1-80b4-00c04fd430c8')", "python.org",
         "6fa459ea-ee8a-3ca4-894e-db77e160355e"),
        ("UUID5('6ba7b810-9dad-11d1-80b4-00c04fd430c8')", "python.org",
         "886313e1-3b8a-5372-9b90-0c9aee199e5d"),
    ],
)  # fmt: skip
def test_function_gives(value: Evaluate, call: str, subject: str, result: str) -> None:
    assert value(f"${{a:{call}}}", a=subject) == result


@pytest.mark.parametrize("name", ["Json", "Xml", "Csv", "Html3", "Html4"])
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))
def test_escape_is_undone_by_unescape(name: str, text: str) -> None:
    both = compile_expression(f"${{a:escape{name}():unescape{name}()}}", ENVIRONMENT)
    # XML has no place for these two, whatever one writes.
    expected = text.replace("\ufffe", "").replace("\uffff", "") if name == "Xml" else text

    assert both.evaluate(FlowFile(1, {"a": text}, None, 0, 0, 0)) == expected


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_encoding_is_undone_by_decoding(text: str) -> None:
    flowfile = FlowFile(1, {"a": text}, None, 0, 0, 0)
    for encode, decode in (("urlEncode", "urlDecode"), ("base64Encode", "base64Decode")):
        both = compile_expression(f"${{a:{encode}():{decode}()}}", ENVIRONMENT)
        assert both.evaluate(flowfile) == text


@pytest.mark.parametrize(
    ("call", "subject", "words"),
    [
        ("urlDecode()", "50%", "has '50%', where the '%' at position 3 is not followed by two"),
        ("base64Decode()", "a*b", "has 'a\\*b', which is not Base64; letters, digits"),
        ("hash('SHA256')", "", "has 'SHA256' as algorithm; there are MD5, .* mean 'SHA-256'"),
        ("UUID3('x')", "", "UUID3\\(\\) has 'x' as namespace; it must be a UUID such as"),
        ("UUID5('x')", "", "UUID5\\(\\) has 'x' as namespace"),
    ],
)
def test_value_that_does_not_fit_is_named(
    value: Evaluate, call: str, subject: str, words: str
) -> None:
    with pytest.raises(ExpressionError, match=words):
        value(f"${{a:{call}}}", a=subject)
