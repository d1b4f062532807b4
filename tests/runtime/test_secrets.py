"""Secrets at rest: what is stored, and what each wrong key says."""

import base64
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.secrets import (
    ABSENT,
    HIDDEN,
    PREFIX,
    SecretError,
    Secrets,
    is_encrypted,
    key_path,
    redact,
)

KEY = bytes(range(32))


@given(st.text(), st.text(max_size=5))
def test_a_secret_comes_back_as_it_was(text: str, place: str) -> None:
    secrets = Secrets(KEY)

    stored = secrets.encrypt(text, place=place)

    assert is_encrypted(stored) and (len(text) < 4 or text not in stored)
    assert secrets.decrypt(stored, place=place) == text


def test_the_same_secret_is_stored_differently_each_time() -> None:
    secrets = Secrets(KEY)

    assert secrets.encrypt("x") != secrets.encrypt("x")


@pytest.mark.parametrize("change", ["other key", "other place", "flipped bit", "cut", "not base64"])
def test_a_secret_that_does_not_belong_here_is_refused(change: str) -> None:
    secrets = Secrets(KEY)
    stored, place = secrets.encrypt("x", place="a"), "a"
    if change == "other key":
        secrets = Secrets(KEY[::-1])
    elif change == "other place":
        place = "b"
    elif change == "flipped bit":
        data = bytearray(base64.b64decode(stored.removeprefix(PREFIX)))
        data[-1] ^= 1
        stored = PREFIX + base64.b64encode(data).decode()
    else:
        stored = PREFIX + ("AAAA" if change == "cut" else "%%%")

    with pytest.raises(SecretError, match="encrypted with another key, for another place, or is"):
        secrets.decrypt(stored, place=place)


def test_a_secret_without_its_value_says_so() -> None:
    with pytest.raises(SecretError, match="the value of this secret is not in this home"):
        Secrets(KEY).decrypt(ABSENT)


def test_a_plain_text_is_not_decrypted() -> None:
    with pytest.raises(SecretError, match="does not start with 'enc:v1:'; it is not encrypted"):
        Secrets(KEY).decrypt("plain")


def test_the_key_is_made_at_the_first_use_and_found_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    stored = Secrets.open(home, in_use=False, environment={}).encrypt("x")

    assert Secrets.open(home, in_use=True, environment={}).decrypt(stored) == "x"
    assert os.stat(home / "secret.key").st_mode & 0o777 == 0o600
    assert os.listdir(home) == ["secret.key"]


def test_a_missing_key_is_not_replaced_while_secrets_need_it(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="secret.key' does not exist, and the secrets of"):
        Secrets.open(tmp_path, in_use=True, environment={})
    assert os.listdir(tmp_path) == []


def test_a_key_file_that_is_named_must_exist(tmp_path: Path) -> None:
    environment = {"LEVADA_KEY_FILE": str(tmp_path / "nowhere")}

    assert key_path(tmp_path, environment) == tmp_path / "nowhere"
    with pytest.raises(SecretError, match="nowhere' does not exist"):
        Secrets.open(tmp_path, in_use=False, environment=environment)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Secrets.open(tmp_path, in_use=False, environment={})
    (tmp_path / "secret.key").chmod(0o640)

    with pytest.raises(SecretError, match="has mode 0640, so others .* run `chmod 600"):
        Secrets.open(tmp_path, in_use=True, environment={})


@pytest.mark.parametrize("content", [b"", b"AAAA", b"\xff\xfe", b"A" * 9000])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(SecretError, match="does not hold the base64 of 32 bytes; restore it"):
        Secrets.open(tmp_path, in_use=True, environment={})


def test_a_short_key_is_refused() -> None:
    with pytest.raises(SecretError, match="the key has 3 bytes; it must have 32"):
        Secrets(b"abc")


def test_redacting_hides_the_longest_secret_first_and_ignores_empty_ones() -> None:
    assert redact("pass, password", ["pass", "password", ""]) == f"{HIDDEN}, {HIDDEN}"
