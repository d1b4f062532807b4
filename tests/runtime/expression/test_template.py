from hypothesis import given
from hypothesis import strategies as st

from runtime.expression.template import pieces


@given(st.text("ab$#{}'\"\\ ", max_size=15))
def test_pieces_hold_the_text_but_for_the_escapes(text: str) -> None:
    found = list(pieces(text))

    joined = "".join(piece.text for piece in found)
    assert set(joined) <= set(text) and len(joined) <= len(text)
    assert joined.replace("$", "").replace("#", "") == text.replace("$", "").replace("#", "")


@given(st.text("ab$#{}'\"\\ ", max_size=15))
def test_escaped_text_is_one_plain_text(text: str) -> None:
    # Doubling each sign that stands before a brace, and closing all braces, hides everything.
    closed = text.replace("'", "").replace('"', "") + "}" * text.count("{")
    escaped = closed
    for sign in "$#":
        escaped = escaped.replace(sign, sign * 2) if f"{sign}{{" in escaped else escaped

    assert all(not piece.kind for piece in pieces(escaped))


def test_quotes_hide_braces_inside_an_expression_only() -> None:
    assert [piece.text for piece in pieces("'${a:f('}')}'")] == ["'", "${a:f('}')}", "'"]
    assert [piece.kind for piece in pieces("${a:f('})} ${b}")] == [""]


def test_pieces_know_their_places() -> None:
    assert [(piece.kind, piece.position) for piece in pieces("ab${c}#{d}")] == [
        ("", 0),
        ("$", 2),
        ("#", 6),
    ]


def test_parameters_can_be_left_alone() -> None:
    assert [piece.text for piece in pieces("#{a}${b}", parameters=False)] == ["#{a}", "${b}"]
