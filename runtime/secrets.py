"""Sensitive values at rest: AES-256-GCM with a key that stays in the home.

A value is stored as `enc:v1:` and the base64 of nonce, ciphertext and tag. What it belongs to is
authenticated with it where the caller says so, so that a value copied to another place does not
decrypt there. `enc:v1:` alone stands for a secret whose value this home does not have.

The key is 32 random bytes, base64 in `<home>/secret.key` (mode 0600), made at the first use, or in
the file that LEVADA_KEY_FILE names. Whoever has the key and the home has the secrets; a copy of
the home without the key has none.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX: Final = "enc:v1:"
ABSENT: Final = PREFIX
KEY_VARIABLE: Final = "LEVADA_KEY_FILE"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
HIDDEN: Final = "********"


class SecretError(ValueError):
    """A key or an encrypted value cannot be used; the message says what to do."""


def is_encrypted(text: str) -> bool:
    """Tell whether a stored value is a secret (with or without its value)."""
    return text.startswith(PREFIX)


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace every occurrence of these secrets, longest first; empty ones are none."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def key_path(home: Path, environment: Mapping[str, str] | None = None) -> Path:
    """Return where the key of this home lies."""
    given = (os.environ if environment is None else environment).get(KEY_VARIABLE)
    return Path(given) if given else home / "secret.key"


class Secrets:
    """Encrypts and decrypts with one key. Safe to use from any thread."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SecretError(f"the key has {len(key)} bytes; it must have {KEY_BYTES}")
        self._cipher = AESGCM(key)

    @classmethod
    def open(
        cls, home: Path, *, in_use: bool, environment: Mapping[str, str] | None = None
    ) -> Secrets:
        """Read the home's key.

        Args:
            in_use: the home holds encrypted values already, so a missing key must not be replaced.
            environment: where LEVADA_KEY_FILE is looked up; None: the process's.

        Raises:
            SecretError: the key is missing, is no key, or others may read it.
        """
        path = key_path(home, environment)
        try:
            return cls(_read_key(path))
        except FileNotFoundError:
            if in_use or path != home / "secret.key":
                raise SecretError(
                    f"the key file '{path}' does not exist, and the secrets of '{home}' need it;"
                    f" restore it, or name it in {KEY_VARIABLE}"
                ) from None
        _make_key(path)
        return cls(_read_key(path))

    def encrypt(self, text: str, *, place: str = "") -> str:
        """Return the stored form; `place` must be the same at `decrypt`."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode("utf-8", "surrogatepass"), place.encode())
        return PREFIX + base64.b64encode(nonce + sealed).decode("ascii")

    def decrypt(self, stored: str, *, place: str = "") -> str:
        """Return the value of a stored form.

        Raises:
            SecretError: it has no value here, is damaged, or was encrypted with another key.
        """
        if stored == ABSENT:
            raise SecretError("the value of this secret is not in this home; set it again")
        if not stored.startswith(PREFIX):
            raise SecretError(f"the value does not start with '{PREFIX}'; it is not encrypted")
        try:
            sealed = base64.b64decode(stored.removeprefix(PREFIX), validate=True)
            opened = self._cipher.decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode()
            )
        except (binascii.Error, ValueError, InvalidTag):
            raise SecretError(
                "the value was encrypted with another key, for another place, or is damaged;"
                " restore the key file that belongs to this home, or set the value again"
            ) from None
        return opened.decode("utf-8", "surrogatepass")


def _read_key(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        text = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    if mode & 0o077:
        raise SecretError(
            f"the key file '{path}' has mode {mode:04o}, so others than its owner can reach it;"
            f" run `chmod 600 {path}`"
        )
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise SecretError(
            f"the key file '{path}' does not hold the base64 of {KEY_BYTES} bytes;"
            " restore it from a copy"
        )
    return key


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        # A link never replaces: of two processes that meet here, both use the first one's key.
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(fresh)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
