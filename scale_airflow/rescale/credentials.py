# SPDX-License-Identifier: Apache-2.0
"""Where Rescale is and with which key: given, the environment, or ``~/.config/rescale/apiconfig``."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from scale_airflow.errors import InstallationError

REGIONS: Mapping[str, str] = {
    "us": "https://platform.rescale.com",
    "eu": "https://eu.rescale.com",
    "kr": "https://kr.rescale.com",
    "jp": "https://platform.rescale.jp",
    "itar": "https://itar.rescale.com",
}
DEFAULT_BASE_URL = REGIONS["us"]
KEY_VARIABLE = "RESCALE_API_KEY"
URL_VARIABLE = "RESCALE_API_BASE_URL"
_URL_KEY, _KEY_KEY = "apibaseurl", "apikey"
_OWN_DOMAINS = ("rescale.com", "rescale.jp")
_NEW_KEY = "Make a new key in Rescale's user profile, section API."
_HOST = re.compile(r"[a-z0-9][a-z0-9._-]*|[0-9a-f:.]+")
_PROFILE_NAME = re.compile(r"[^\[\]\r\n]+")


class Secret:
    """A text that no log, error, template or ``repr`` shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str):
        self._text = text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("A secret is neither copied nor sent anywhere.")

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text


@dataclass(frozen=True)
class Credentials:
    """A server of Rescale's and a key for it; make them with :meth:`of`.

    :param base_url: scheme, host and port, without a slash at the end.
    """

    base_url: str
    api_key: Secret

    @classmethod
    def of(cls, base_url: str, api_key: str) -> Credentials:
        """Return checked credentials.

        :param base_url: ``https://eu.rescale.com``, or the name of a region (``eu``); a path ``/api/v2`` is
            taken off.
        :raises InstallationError: if the address or the key can't be one.
        """
        return cls(normalized_url(base_url), Secret(_checked_key(api_key)))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Credentials:
        """Return what ``RESCALE_API_KEY`` (set inside every Rescale job) and ``RESCALE_API_BASE_URL`` hold.

        :raises InstallationError: if there is no key.
        """
        values = os.environ if environment is None else environment
        if not values.get(KEY_VARIABLE, "").strip():
            raise InstallationError(
                f"The environment has no {KEY_VARIABLE}.", f"Set it, or write {profile_path()}. {_NEW_KEY}"
            )
        return cls.of(values.get(URL_VARIABLE, "").strip() or DEFAULT_BASE_URL, values[KEY_VARIABLE])

    @classmethod
    def from_profile(cls, path: str | Path | None = None, profile: str = "default") -> Credentials:
        """Return a profile (a section) of the file that Rescale's own tools read.

        :param path: None for ``~/.config/rescale/apiconfig``.
        :raises InstallationError: if the file or the profile is missing or incomplete.
        """
        file = Path(path).expanduser() if path is not None else profile_path()
        section = _sections(file).get(profile)
        if section is None:
            known = ", ".join(sorted(_sections(file))) or "none"
            raise InstallationError(
                f"{file} has no profile [{profile}].", f"Name one that it has ({known}), or add it."
            )
        for key in (_URL_KEY, _KEY_KEY):
            if not section.get(key, "").strip():
                raise InstallationError(
                    f"Profile [{profile}] of {file} has no {key}.", f"Add the line '{key} = …'. {_NEW_KEY}"
                )
        return cls.of(section[_URL_KEY], section[_KEY_KEY])

    @property
    def authorization(self) -> str:
        """The value of the header ``Authorization``; a secret."""
        key = self.api_key.reveal()
        # As Rescale's own newest client tells them apart.
        kind = "Bearer" if key.startswith("ey") and key.count(".") == 2 else "Token"
        return f"{kind} {key}"

    @property
    def digest(self) -> str:
        """What tells keys apart without telling them."""
        return hashlib.sha256(self.api_key.reveal().encode()).hexdigest()[:16]

    @property
    def shown(self) -> str:
        """The server as texts name it."""
        return self.base_url

    def write_profile(self, path: str | Path | None = None, profile: str = "default") -> Path:
        """Write the profile to the file that Rescale's own tools read; other profiles in it stay.

        A file with one profile has exactly three lines, because many scripts read it by line number. Nobody
        but the owner may read it.

        :param path: None for ``~/.config/rescale/apiconfig``.
        :raises InstallationError: if the file is there but can't be understood, or the name can't be one.
        """
        if not _PROFILE_NAME.fullmatch(profile):
            raise InstallationError(f"{profile!r} is no name of a profile.", "Use letters, digits and '-'.")
        file = Path(path).expanduser() if path is not None else profile_path()
        sections = _sections(file) if file.exists() else {}
        sections[profile] = {_URL_KEY: self.base_url, _KEY_KEY: self.api_key.reveal()}
        text = "".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in section.items())
            for name, section in sections.items()
        )
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        written = file.with_name(f".{file.name}.{os.getpid()}")
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        written.replace(file)
        return file


def load_credentials(profile: str | None = None, path: str | Path | None = None) -> Credentials:
    """Return the credentials of whoever runs this, as Rescale's own tools find them.

    A profile or path that is named is read. Otherwise ``RESCALE_API_KEY`` counts, so that the same code works
    inside a Rescale job, and then the profile ``default`` of ``~/.config/rescale/apiconfig``.

    :raises InstallationError: if there are none; says what to do.
    """
    if profile is None and path is None and os.environ.get(KEY_VARIABLE, "").strip():
        return Credentials.from_environment()
    return Credentials.from_profile(path, profile or "default")


def profile_path() -> Path:
    """Return where Rescale's own tools keep keys (on Windows too, whatever its tutorial prints)."""
    return Path(os.path.expanduser("~")) / ".config" / "rescale" / "apiconfig"


def normalized_url(text: str) -> str:
    """Return a server's address in its one form.

    :raises InstallationError: if it is none, or holds a user or password.
    """
    text = REGIONS.get(text.strip().lower(), text.strip())
    split = urlsplit(text if "://" in text else f"https://{text}")
    try:
        port = f":{split.port}" if split.port else ""
    except ValueError:
        port = None
    path = split.path.rstrip("/")
    fits = (
        split.scheme in ("http", "https")
        and _HOST.fullmatch(split.hostname or "")
        and path in ("", "/api", "/api/v2")
    )
    if not fits or port is None or split.query or split.fragment or "@" in split.netloc:
        raise InstallationError(
            "The address of Rescale is not of the form https://HOST.",
            "Use one of " + ", ".join(REGIONS.values()) + ".",
        )
    host = split.hostname or ""
    if split.scheme == "http" and host.endswith(_OWN_DOMAINS):
        raise InstallationError("Over http the API key would go through the network readable.", "Use https.")
    return f"{split.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _checked_key(text: str) -> str:
    key = text.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise InstallationError("The API key is empty or has characters that no key has.", _NEW_KEY)
    return key


def _sections(file: Path) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    problem = ""
    try:
        parser.read_string(file.read_text("utf-8-sig"))
    except OSError as error:
        problem = f"{file} can't be read: {error.strerror}."
    except (configparser.Error, UnicodeDecodeError):
        # The parser's own words would show the line, and with it the key.
        problem = f"{file} is not of the form [profile], apibaseurl = …, apikey = …."
    if problem:
        raise InstallationError(problem, f"Write it, or set {KEY_VARIABLE}. {_NEW_KEY}")
    return {name: dict(parser[name]) for name in parser.sections()}
