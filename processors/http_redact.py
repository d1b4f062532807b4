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
        query = [
            (name, HIDDEN if _is_secret(name) else value) for name, value in url.query.items()
        ]
        shown = url if url.password is None else url.with_password(HIDDEN)
    except ValueError:
        # What is no URL may hold anything; what stands before its query is shown, without a user.
        return text.partition("?")[0].rpartition("@")[2]
    if any(_is_secret(name) for name, _ in query):
        shown = shown.with_query(query)
    # Taking a URL apart also normalizes it, which nobody wants of one that has no secrets.
    return text if shown is url else str(shown)


def _is_secret(name: str) -> bool:
    lower = name.lower()
    return lower in SECRET_NAMES or any(word in lower for word in SECRET_WORDS)
