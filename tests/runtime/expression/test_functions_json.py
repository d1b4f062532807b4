import json
from typing import Any

import pytest

from runtime.expression import ExpressionError

Evaluate = Any

BOOK = json.dumps(
    {
        "name": "Ann",
        "age": 25,
        "tall": 1.8,
        "voter": True,
        "none": None,
        "nick-names": [],
        "phones": [{"type": "home", "number": "1"}, {"type": "office", "number": "2"}],
        "city": {"zip": "0150"},
    }
)


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("$.name", "Ann"),
        ("$.age", "25"),
        ("$.tall", "1.8"),
        ("$.voter", "true"),
        ("$.none", ""),
        ("$.city", '{"zip":"0150"}'),
        ("$.city.zip", "0150"),
        ("$.missing", ""),
        ("$.nick-names", "[]"),
        ("$.phones[1].number", "2"),
        ("$.phones[?(@.type=='home')].number", "1"),
        ("$.phones[*].number", '["1","2"]'),
        ("$.phones[?(@.type=='mobile')].number", "[]"),
        ("$..zip", "0150"),
    ],
)
def test_json_path_reads(value: Evaluate, path: str, result: str) -> None:
    assert value(f'${{a:jsonPath("{path}")}}', a=BOOK) == result


@pytest.mark.parametrize(
    ("call", "path", "result"),
    [
        ("jsonPathDelete('$.name')", "$.name", ""),
        ("jsonPathDelete('$.phones[0]')", "$.phones[*].number", "2"),
        ("jsonPathDelete('$.phones[*]')", "$.phones", "[]"),
        ("jsonPathDelete('$.missing')", "$.name", "Ann"),
        ("jsonPathSet('$.name', 'Bea')", "$.name", "Bea"),
        ("jsonPathSet('$.age', 26)", "$.age", "26"),
        ("jsonPathSet('$.voter', false)", "$.voter", "false"),
        ("jsonPathSet('$.missing', 1)", "$.missing", ""),
        ("jsonPathAdd('$.nick-names', 'Annie')", "$.nick-names", "Annie"),
        ("jsonPathAdd('$.missing', 1)", "$.name", "Ann"),
        ("jsonPathPut('$.city', 'Oslo', 'name')", "$.city.name", "Oslo"),
        ("jsonPathPut('$.phones[1]', true, 'old')", "$.phones[1].old", "true"),
    ],
)
def test_json_path_changes(value: Evaluate, call: str, path: str, result: str) -> None:
    changed = value(f"${{a:{call}}}", a=BOOK)

    assert value(f"${{a:jsonPath('{path}')}}", a=changed) == result


@pytest.mark.parametrize(
    "call",
    ["jsonPathAdd('$.name', 1)", "jsonPathPut('$.name', 1, 'x')", "jsonPathDelete('$')",
     "jsonPathSet('$', 1)"],
)  # fmt: skip
def test_change_that_is_impossible_gives_an_empty_text(value: Evaluate, call: str) -> None:
    assert value(f"${{a:{call}}}", a=BOOK) == ""


def test_changed_json_keeps_its_characters(value: Evaluate) -> None:
    assert value("${a:jsonPathSet('$.x', 'é')}", a='{"x": 1}') == '{"x":"é"}'


@pytest.mark.parametrize(
    ("text", "subject", "words"),
    [
        ("${a:jsonPath('$..')}", "{}", "'\\$\\.\\.' is not a JSONPath: expected"),
        ("${a:jsonPath('$.a | $.b')}", "{}", "combines several JSONPaths; write a single one"),
        ("${a:jsonPath('$.a')}", "[}", "jsonPath\\(\\) has '\\[}', which is not JSON: Expecting"),
        ("${a:jsonPath('$.a')}", "[" * 100_000, "which is not JSON: it nests too deep"),
        ("${b:jsonPath('$.a')}", "", "jsonPath\\(\\) has '', which is not JSON"),
        ("${a:jsonPathSet('$.a', 1)}", "", "jsonPathSet\\(\\) has '', which is not JSON"),
    ],
)
def test_value_that_does_not_fit_is_named(
    value: Evaluate, text: str, subject: str, words: str
) -> None:
    with pytest.raises(ExpressionError, match=words):
        value(text, a=subject)
