import pytest

from processors.http_redact import redact_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org/a?b=c", "https://example.org/a?b=c"),
        ("https://me:secret@example.org/", "https://me:redacted@example.org/"),
        (
            "http://x/?api_key=1&page=2&Access-Token=3&sig=4",
            "http://x/?api_key=redacted&page=2&Access-Token=redacted&sig=redacted",
        ),
        ("http://x/?key=1&key=2", "http://x/?key=redacted&key=redacted"),
        ("http://me:pw@x:99999/?token=1", "x:99999/"),
        ("", ""),
        ("http://[broken", "http://[broken"),
    ],
)
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    assert redact_url(url) == shown
