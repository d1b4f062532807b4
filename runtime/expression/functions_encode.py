"""Functions that escape, encode and hash texts."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import uuid
from collections.abc import Callable
from html.entities import codepoint2name, name2codepoint
from typing import Final
from urllib.parse import quote_plus, unquote_plus

from runtime.expression.errors import ExpressionError, guess, shown
from runtime.expression.functions import bounded, function, unless_null
from runtime.expression.values import Step, Type

TEXT = Type.TEXT


def _escape(name: str, apply: Callable[[str], str]) -> None:
    """Declare an escape: a missing subject gives an empty text, the result is bounded."""

    @function(name, TEXT, result=TEXT)
    def make() -> Step:
        return lambda subject: bounded(apply(subject or ""), name)


Replacements = dict[int, str]  # what str.translate takes


def _utf16(character: str) -> str:
    data = character.encode("utf-16-be", "surrogatepass").hex().upper()
    return "".join(f"\\u{data[index : index + 4]}" for index in range(0, len(data), 4))


_JSON: Final[Replacements] = {code: _utf16(chr(code)) for code in range(32)} | {
    ord('"'): '\\"', ord("\\"): "\\\\", ord("/"): "\\/", 8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f",
    13: "\\r",
}  # fmt: skip
_FROM_JSON: Final = {"b": "\b", "n": "\n", "t": "\t", "f": "\f", "r": "\r"}


def _escape_json(text: str) -> str:
    # The table alone is ten times as fast as a call for each character.
    escaped = text.translate(_JSON)
    if escaped.isascii():
        return escaped
    return re.sub(r"[^\x00-\x7f]", lambda match: _utf16(match[0]), escaped)


def _unescape_json(text: str) -> str:
    def read(match: re.Match[str]) -> str:
        if match[1]:
            units = bytes.fromhex("".join(re.findall(r"u+\+?([0-9a-fA-F]{4})", match[0])))
            return units.decode("utf-16-be", "surrogatepass")
        if match[2]:
            return chr(int(match[2], 8))
        return _FROM_JSON.get(match[3], match[3])

    pattern = r"((?:\\u+\+?[0-9a-fA-F]{4})+)|\\([0-3][0-7]{2}|[0-7]{1,2})|\\([\s\S]?)"
    return re.sub(pattern, read, text)


Entities = dict[str, str | int | None]  # what str.maketrans takes

_XML: Final[Entities] = {
    '"': "&quot;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;"
}  # fmt: skip
_HTML4: Final[Entities] = {chr(code): f"&{name};" for code, name in codepoint2name.items()}
_HTML3: Final[Entities] = {one: name for one, name in _HTML4.items() if ord(one) < 256}
_ENTITY: Final = re.compile(r"&(?:#([0-9]{1,8})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z0-9]{1,16}));")
# What XML 1.0 forbids is dropped; what it discourages is written as a number.
_XML_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def _escape_xml(text: str) -> str:
    clean = _XML_FORBIDDEN.sub("", text).translate(str.maketrans(_XML))
    return re.sub(r"[\x7f-\x84\x86-\x9f]", lambda match: f"&#{ord(match[0])};", clean)


def _unescape(known: dict[str, int]) -> Callable[[str], str]:
    def read(match: re.Match[str]) -> str:
        code = int(match[1]) if match[1] else int(match[2], 16) if match[2] else known.get(match[3])
        return chr(code) if code is not None and code <= 0x10FFFF else match[0]

    return lambda text: _ENTITY.sub(read, text)


def _escape_csv(text: str) -> str:
    if not re.search(r'[,"\r\n]', text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _unescape_csv(text: str) -> str:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"' or not re.search('[,"\r\n]', text[1:-1]):
        return text
    return text[1:-1].replace('""', '"')


_escape("escapeJson", _escape_json)
_escape("unescapeJson", _unescape_json)
_escape("escapeXml", _escape_xml)
_escape(
    "unescapeXml", _unescape({"quot": 34, "amp": 38, "lt": 60, "gt": 62, "apos": 39})
)  # fmt: skip
_escape("escapeCsv", _escape_csv)
_escape("unescapeCsv", _unescape_csv)
_escape("escapeHtml3", lambda text: text.translate(str.maketrans(_HTML3)))
_escape(
    "unescapeHtml3",
    _unescape({name: code for name, code in name2codepoint.items() if code < 256}),
)
_escape("escapeHtml4", lambda text: text.translate(str.maketrans(_HTML4)))
_escape("unescapeHtml4", _unescape(dict(name2codepoint)))


@function("urlEncode", TEXT, result=TEXT)
def url_encode() -> Step:
    def apply(subject: str) -> str:
        encoded = quote_plus(subject, safe="*", errors="replace").replace("~", "%7E")
        return bounded(encoded, "urlEncode")

    return unless_null(apply)


@function("urlDecode", TEXT, result=TEXT)
def url_decode() -> Step:
    def apply(subject: str) -> str:
        if match := re.search(r"%(?![0-9a-fA-F]{2})", subject):
            raise ExpressionError(
                f"urlDecode() has '{shown(subject)}', where the '%' at position "
                f"{match.start() + 1} is not followed by two hexadecimal digits"
            )
        return unquote_plus(subject, errors="replace")

    return unless_null(apply)


@function("base64Encode", TEXT, result=TEXT)
def base64_encode() -> Step:
    def apply(subject: str) -> str:
        encoded = base64.b64encode(subject.encode("utf-8", "replace")).decode("ascii")
        return bounded(encoded, "base64Encode")

    return unless_null(apply)


@function("base64Decode", TEXT, result=TEXT)
def base64_decode() -> Step:
    def apply(subject: str) -> str:
        try:
            data = base64.b64decode(subject + "=" * (-len(subject) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ExpressionError(
                f"base64Decode() has '{shown(subject)}', which is not Base64; "
                "letters, digits, + and / are allowed, with = only at the end"
            ) from None
        return data.decode("utf-8", "replace")

    return unless_null(apply)


_ALGORITHMS: Final = {
    "MD5": "md5", "SHA-1": "sha1", "SHA": "sha1", "SHA1": "sha1", "SHA-224": "sha224",
    "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512",
    "SHA-512/224": "sha512_224", "SHA-512/256": "sha512_256", "SHA3-224": "sha3_224",
    "SHA3-256": "sha3_256", "SHA3-384": "sha3_384", "SHA3-512": "sha3_512",
}  # fmt: skip


@function("hash", TEXT, TEXT, result=TEXT)
def digest(algorithm: str | None) -> Step:
    name = _ALGORITHMS.get((algorithm or "").upper())
    if name is None or name not in hashlib.algorithms_available:
        raise ExpressionError(
            f"hash() has '{shown(algorithm or '')}' as algorithm; "
            f"there are {', '.join(_ALGORITHMS)}{guess(algorithm or '', _ALGORITHMS)}"
        )
    return unless_null(
        lambda subject: hashlib.new(
            name, subject.encode("utf-8", "replace"), usedforsecurity=False
        ).hexdigest()
    )


@function("UUID3", TEXT, TEXT, result=TEXT)
def uuid3(namespace: str | None) -> Step:
    space = _namespace("UUID3", namespace)
    return unless_null(lambda subject: str(uuid.uuid3(space, _encodable(subject))))


@function("UUID5", TEXT, TEXT, result=TEXT)
def uuid5(namespace: str | None) -> Step:
    space = _namespace("UUID5", namespace)
    return unless_null(lambda subject: str(uuid.uuid5(space, _encodable(subject))))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _namespace(name: str, text: str | None) -> uuid.UUID:
    try:
        return uuid.UUID(text) if text is not None else uuid.UUID(int=0)
    except ValueError:
        raise ExpressionError(
            f"{name}() has '{shown(text or '')}' as namespace; it must be a UUID such as "
            "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'"
        ) from None
