import jsonpath
import pytest

from processors.json_document import JsonError, JsonPath, plain_steps

DOCUMENT = {
    "a": {"b": [1, 2.5, None, "x", True, {"c": "d"}], "b-c": "dash"},
    "items": [{"name": "pear"}, {"name": "QUINCE\nJAM"}],
    "pattern": "p.*",
}


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("$", ()),
        ("$.a.b[0]", ("a", "b", 0)),
        ("$['a b'][-1]", ("a b", -1)),
        ("$..a", None),
        ("$.a[*]", None),
        ("$.a[?@.b]", None),
        ("$.a[0,1]", None),
        ("$.a[0:2]", None),
    ],
)
def test_plain_paths_are_walked_and_others_are_not(path, steps):
    assert plain_steps(path) == steps


@pytest.mark.parametrize(
    "path", ["$.a.b[0]", "$.a.b[5].c", "$['a']['b-c']", "$.items[-1].name", "$"]
)
def test_walk_finds_what_the_library_finds(path):
    assert [JsonPath(path).find(DOCUMENT)] == jsonpath.findall(path, DOCUMENT)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("$.items[?@.name =~ /p.*/].name", ["pear"]),
        ("$.items[?@.name =~ /P.*/i].name", ["pear"]),
        ("$.items[?@.name =~ /Q.*M/s].name", ["QUINCE\nJAM"]),
        ("$.items[?@.name =~ /ear/].name", []),
        ("$.items[?match(@.name, 'p..r')].name", ["pear"]),
        ("$.items[?search(@.name, 'JAM')].name", ["QUINCE\nJAM"]),
        ("$.items[?match(@.name, $.pattern)].name", ["pear"]),
        ("$.items[?match(@.name, '(')].name", []),
        ("$.items[?match(@.none, 'a')].name", []),
        ("$.items[?@.name == 'pear'].name", ["pear"]),
    ],
)
def test_filters_may_have_regular_expressions(path, names):
    assert JsonPath(path).find(DOCUMENT) == names


def test_regular_expression_that_takes_too_long_is_given_up():
    document = {"items": [{"name": "a" * 40 + "!"}]}

    assert JsonPath("$.items[?@.name =~ /(a+)+$/]").find(document) == []
    with pytest.raises(JsonError, match="cannot be followed: pattern .* takes longer than"):
        JsonPath(r"$.items[?@.name =~ /(?=a)(a|aa)+(?<=b)$/]").find(document)
