"""Removes secrets from texts that are given away: the values that are known, and everything that looks like a secret.

With a `hiding_key`, names of buckets, objects and folders are replaced, too: the same name always by the same hash.
"""

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlsplit

from jibe_sqs.core.secret_references import secret_reference

REDACTED: Final = "[redacted]"
LEAST: Final = 4
"""Characters of a known secret. A shorter one would be found in every other word."""
_LEAST_PART: Final = 8
"""Characters of a part of a secret address, or of a line of a secret, that are secret by themselves."""
_LEAST_BASE64: Final = 6
_PERCENT: Final = re.compile(r"%[0-9A-F]{2}")

# The log may have words of any length, so no pattern looks at a word again from each of its characters, or gives a part of it back.
_HIDDEN: Final = (
    r"(?<![\w.-])(?>[\w.-]*?(?:passw(?:or)?d|passphrase|\bpwd\b|us_pwd|secret|token|api[_-]?key|access[_-]?key|credential|webhook"
    r"|authorization))[\w.-]*+"
)
_VALUE: Final = r"\\\"(?:[^\"\\]|\\[^\"])*\\\"|\"(?:[^\"\\]|\\.)*\"|'[^'\n]*'|[^\s,;&\"'{}\[\]()]+"
_PLAIN: Final = frozenset({"", "null", "None", "true", "false", "True", "False", "********", REDACTED})
_ASSIGNED: Final = re.compile(
    rf"(?i)(?P<arn>arn:[\w-]+:(?:secretsmanager|ssm):[^\s\"']+)"
    rf"|(?P<name>{_HIDDEN})(?P<sign>\\?[\"']?\s*[:=]\s*)(?P<value>{_VALUE})"
)
_PATTERNS: Final = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"), REDACTED),
    # A header has several words, up to the end of the line or of its quotes.
    (re.compile(r"(?i)(authorization\\?[\"']?\s*[:=]\s*\\?[\"']?)[^\"'\\\n]+"), rf"\1{REDACTED}"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), REDACTED),
    (re.compile(r"(?i)\b(X-Amz-(?:Signature|Security-Token|Credential))(=|%3D)[^&\s\"'<>]+"), rf"\1\2{REDACTED}"),
    (re.compile(r"(?i)\b(Signature=)[0-9a-f]{16,}"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)\b(Bearer|Basic)\s+[\w.~+/=-]{6,}"), rf"\1 {REDACTED}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), REDACTED),
    (re.compile(r"\bxox[a-z]-[\w-]{8,}"), REDACTED),
    (re.compile(r"(?i)(https?://(?:hooks\.slack\.com|(?>[\w.-]*?webhook)[\w.-]*+|discord(?:app)?\.com/api/webhooks))/[^\s\"'<>]+"), rf"\1/{REDACTED}"),
    (re.compile(r"(?i)((?<=[a-z0-9+.-])://)[^/\s\"'@]+@"), rf"\1{REDACTED}@"),
)  # fmt: skip
_HIDDEN_NAME: Final = re.compile(rf"(?i){_HIDDEN}")
_NAMES: Final = ("bucket", "key", "keys", "folder", "folders", "prefix", "object", "path", "s3Bucket", "s3ObjectKey")
"""Keys of objects with the names of buckets, objects and folders."""
_NAMED: Final = re.compile(
    rf"(?P<name>\"(?:{'|'.join(_NAMES)})\"\s*:\s*)"
    r"(?P<value>\"(?:[^\"\\]|\\.)*\"|\[[^\]{}]*\])"
)
_TEXT: Final = re.compile(r"\"((?:[^\"\\]|\\.)*)\"")
_S3_URL: Final = re.compile(r"s3://([^/\s\"']+)(/[^\s\"']*)?")


class Redaction:
    """Redacts texts. `secrets`: the known values. `names`: buckets and folders that are replaced, if there is a `hiding_key`."""

    def __init__(self, secrets: Iterable[str], names: Iterable[str] = (), hiding_key: bytes = b"") -> None:
        self._key = hiding_key
        forms = {form for secret in secrets for form in _forms(secret)}
        self._secrets = _any_of(forms)
        wanted = {each for each in names if len(each) >= LEAST} if hiding_key else set()
        self._names = _any_of({form for name in wanted for form in (name, json.dumps(name)[1:-1])})
        self.count = 0
        """Places that were redacted."""

    def text(self, text: str) -> str:
        """The text without secrets, and without names if these are hidden."""
        if self._secrets:
            text, count = self._secrets.subn(REDACTED, text)
            self.count += count
        for pattern, replacement in _PATTERNS:
            text, count = pattern.subn(replacement, text)
            self.count += count
        text = _ASSIGNED.sub(self._assigned, text)
        return self._without_names(text) if self._key else text

    def value(self, value: Any, name: str = "") -> Any:
        """The same for what JSON can represent. `name`: the key of an object below which the value is."""
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(each, str(key)) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(each, name) for each in value]
        if not isinstance(value, str):
            return value
        if _HIDDEN_NAME.fullmatch(name) and value not in _PLAIN and not _is_reference(value):
            self.count += 1
            return REDACTED
        if self._key and name in _NAMES:
            return self._hash(value)
        return self.text(value)

    def _assigned(self, found: re.Match[str]) -> str:
        if found["arn"]:
            return found[0]
        value = found["value"]
        quotes = value[:2] if value.startswith('\\"') else value[0] if value[0] in "\"'" else ""
        bare = value[len(quotes) : len(value) - len(quotes)]
        # A text of JSON has quotes: what has none there is a number.
        is_number = not quotes and '"' in found["sign"] and bare[0].isdigit()
        if bare in _PLAIN or is_number or _is_reference(bare):
            return found[0]
        self.count += 1
        return f"{found['name']}{found['sign']}{quotes}{REDACTED}{quotes}"

    def _without_names(self, text: str) -> str:
        text = _S3_URL.sub(lambda found: f"s3://{self._hash(found[1])}{_slash(found[2], self._hash)}", text)
        text = _NAMED.sub(lambda f: f["name"] + _TEXT.sub(lambda each: f'"{self._hash(each[1])}"', f["value"]), text)
        return self._names.sub(lambda found: self._hash(found[0]), text) if self._names else text

    def _hash(self, name: str) -> str:
        if not name or name.startswith("name-"):
            return name
        digest = blake2b(name.encode("utf-8", "surrogatepass"), key=self._key[:64], digest_size=5).hexdigest()
        return f"name-{digest}"


def _forms(secret: str) -> set[str]:
    """The secret as it may stand in a text, and the parts of a secret address that are secret alone."""
    wanted = {secret}
    if secret.startswith(("http://", "https://")):
        try:
            parts = urlsplit(secret)
        except ValueError:
            parts = urlsplit("")
        wanted |= {
            part for part in (parts.path.strip("/"), parts.query, *parts.path.split("/")) if len(part) >= _LEAST_PART
        }
    # Tracebacks and boxes of terminals put something between the lines of a text.
    wanted |= {line.strip() for line in secret.splitlines() if len(line.strip()) >= _LEAST_PART}
    forms = {form for each in wanted if len(each) >= LEAST for form in (_written(each) | _in_base64(each))}
    # A text in a text, such as the answer of a server in a line of a log.
    return forms | {again for form in forms for again in _written(form)}


def _written(text: str) -> set[str]:
    """The text as JSON, Python, URLs, XML and HTML have it."""
    escaped = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
    quoted = {quote(text, safe=""), quote(text), quote_plus(text)}
    lower = {_PERCENT.sub(lambda found: found[0].lower(), each) for each in quoted}
    return {text, *escaped, *quoted, *lower, html.escape(text), html.escape(text, quote=False)}


def _in_base64(text: str) -> set[str]:
    """What is the same in the base64 of all texts that contain this one, and the base64 of the text alone."""
    raw = text.encode("utf-8", "surrogatepass")
    forms = {base64.b64encode(raw).decode().rstrip("=")}
    for before in range(3):
        # Characters at both ends have bits of the neighbours, too.
        end = (before + len(raw)) * 8 // 6
        inner = base64.b64encode(b"\0" * before + raw).decode()[(0, 2, 3)[before] : end]
        forms |= {inner} if len(inner) >= _LEAST_BASE64 else set()
    return forms | {form.replace("+", "-").replace("/", "_") for form in forms}


def _any_of(texts: set[str]) -> re.Pattern[str] | None:
    """The longest come first: one secret may be the beginning of another."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True)))) if texts else None


def _slash(path: str | None, hash_: Callable[[str], str]) -> str:
    return f"/{hash_(path[1:])}" if path and len(path) > 1 else path or ""


def _is_reference(text: str) -> bool:
    try:
        return secret_reference(text) is not None
    except ValueError:
        return False
