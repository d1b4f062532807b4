"""A node's settings: defaults, the file, overrides, and the words for what cannot be used."""

from pathlib import Path

import pytest

from runtime.settings import Settings, SettingsError, load_settings, template


def _refused(tmp_path: Path, text: str, *overrides: str) -> str:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load_settings(file, overrides)
    return str(raised.value).replace(str(file), "FILE")


def test_a_missing_file_gives_the_defaults(tmp_path: Path) -> None:
    settings, sources = load_settings(tmp_path / "settings.yaml")

    assert (settings.fsync, settings.gather, settings.log_file_size) == ("group", 0.02, 2**26)
    assert {one.origin for one in sources} == {"default"}
    assert all(one.description for one in sources)


def test_an_override_wins_over_the_file_and_each_value_tells_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("log max size: 2 GB\ngather: 5 ms\n")

    settings, sources = load_settings(file, ["gather=7 ms", "stop-timeout = 3 sec"])

    found = {one.name: (one.value, one.origin) for one in sources}
    assert (settings.log_max_size, settings.gather, settings.stop_timeout) == (2**31, 0.007, 3.0)
    assert found["log_max_size"] == ("2 GB", str(file))
    assert found["gather"] == ("7 ms", "--set")
    assert found["stop_timeout"] == ("3 sec", "--set")
    assert found["fsync"] == ("group", "default")


def test_all_problems_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    words = _refused(tmp_path, "fsync: sometimes\ngahter: 5 ms\n", "disk_reserve=lots")

    assert words.splitlines() == [
        "FILE: setting 'fsync' is 'sometimes': Input should be 'group', 'always' or 'never'",
        "--set: setting 'disk_reserve' is 'lots'; it must be a size such as '512 B', '10 MB' or "
        "'1 GB'",
        f"FILE: setting 'gahter' does not exist. There are: {', '.join(Settings.model_fields)}",
    ]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("log_file_size=1 KB", "is '1 KB'; it must be at least 1 MB"),
        ("log_file_size=2 GB", "is '2 GB'; it must be at most 1 GB"),
        ("gather=2 sec", "is '2 sec'; it must be at most 1 sec"),
        ("checkpoint_interval=1 ms", "is '1 ms'; it must be at least 1 sec"),
        ("archive_disk_share=1", "is '1'; it must be less than 1"),
        ("archive_disk_share=0", "is '0'; it must be more than 0"),
        (
            "log_max_age=-1",
            "is '-1'; it must be a duration such as '30 sec', '5 min' or '1 hour'",
        ),
    ],
)
def test_a_value_out_of_bounds_is_told_in_the_words_of_its_unit(override: str, words: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(None, [override])
    assert str(raised.value) == f"--set: setting '{override.partition('=')[0]}' {words}"


def test_no_limit_of_what_is_kept_may_be_negative(tmp_path: Path) -> None:
    words = _refused(tmp_path, "log_max_size: -1\narchive_max_age: -2.0\ndisk_reserve: -3\n")

    assert words.splitlines() == [
        "FILE: setting 'log_max_size' is '-1'; it must be at least 0 B",
        "FILE: setting 'archive_max_age' is '-2.0'; it must be at least 0 sec",
        "FILE: setting 'disk_reserve' is '-3'; it must be at least 0 B",
    ]


def test_an_override_without_a_value_is_shown_with_the_right_form() -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(None, ["fsync"])
    assert str(raised.value) == "--set fsync: it must have the form NAME=VALUE"


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    assert _refused(tmp_path, "- fsync\n") == "FILE must hold settings as `name: value` lines"


def test_a_file_that_is_not_yaml_is_refused_with_the_place(tmp_path: Path) -> None:
    words = _refused(tmp_path, "fsync: [group\n")

    assert words.startswith("FILE is not YAML: while parsing a flow sequence")
    assert "line 1" in words


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(tmp_path)
    assert str(raised.value) == f"{tmp_path} cannot be read: Is a directory"


def test_an_empty_file_counts_as_no_settings(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("# nothing yet\n")
    assert load_settings(file)[0] == load_settings(None)[0]


def test_the_template_without_its_hashes_is_the_defaults(tmp_path: Path) -> None:
    lines = [
        line.removeprefix("#")
        for line in template().splitlines()
        if line.startswith("#") and not line.startswith("# ")
    ]
    file = tmp_path / "settings.yaml"
    file.write_text("\n".join(lines))

    settings, sources = load_settings(file)

    assert settings == load_settings(None)[0]
    assert {one.origin for one in sources} == {str(file)}
