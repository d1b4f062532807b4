"""URLs as provenance and messages may show them: without what only the server should know."""

from __future__ import annotations

from typing import Final

from yarl import URL

SECRET_WORDS: Final = (
    "key", "token", "secret", "password", "passwd", "pwd", "auth", "signature", "credential",
)  # fmt: skip
SECRET_NAMES: Final = frozenset({"sig", "code", "session", "sid", "jwt", "pass"})
HIDDEN: Final = "redacted"


def redact_url(text: str) -> str:
    """Return the URL without its password, and without the values of secret query parameters."""
    try:
        url = URL(text)
        if url.password is not None:
            url = url.with_password(HIDDEN)
        query = [
            (name, HIDDEN if _is_secret(name) else value) for name, value in url.query.items()
        ]
    except ValueError:
        # What is no URL may hold anything; the part before the first separator is shown.
        return text.partition("?")[0].rpartition("@")[2]
    if any(_is_secret(name) for name, _ in query):
        url = url.with_query(query)
    return str(url)


def _is_secret(name: str) -> bool:
    lower = name.lower()
    return lower in SECRET_NAMES or any(word in lower for word in SECRET_WORDS)
