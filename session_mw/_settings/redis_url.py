"""
URLs of Redis stores: which servers, which options.

    redis://[user:password@]host[:port][/db][?options]
    rediss://...                                            the same with TLS
    redis+cluster://[user:password@]host[:port][,host[:port] ...][?options]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote

from session_mw._settings.errors import BadValue, did_you_mean

SCHEMES = ("redis", "rediss", "redis+cluster")
Address = tuple[str, int]

# What a request may wait: far more than a touch takes (0.2 ms), and no user notices it. Each is for one answer.
TIMEOUT = 0.05
# Nobody waits for what is done behind requests, and a batch of 500 ends takes its time.
BACKGROUND_TIMEOUT = 2.0

_SECONDS = ("socket_timeout", "socket_connect_timeout", "background_timeout")
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS = ("prefix", *_SECONDS, "client_name", "ssl", "ssl_check_hostname", "ssl_cert_reqs", *_FILES)
_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,32}")
_WRITE = "Write redis://host:6379/0, rediss://host:6380/0 or redis+cluster://host:7000,other:7000"


@dataclass(frozen=True)
class RedisTarget:
    """
    What a URL says.

    Attributes:
        addresses: Of the server, or of some nodes of the cluster.
        cluster: Whether it is one.
        tls: Whether connections are encrypted.
        db: Number of the database.
        username: None for the default user.
        password: None when none is needed.
        prefix: First part of every key: two applications on one server take different ones.
        timeout: Seconds that one answer may take in the way of a request.
        connect_timeout: Seconds that connecting may take there.
        background_timeout: Seconds that one answer may take behind requests.
        options: Handed on to the client: its name, certificates.
    """

    addresses: tuple[Address, ...]
    cluster: bool = False
    tls: bool = False
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    prefix: str = "sm"
    timeout: float = TIMEOUT
    connect_timeout: float = TIMEOUT
    background_timeout: float = BACKGROUND_TIMEOUT
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def shown(self) -> str:
        """The servers, without user and password."""
        return ",".join(f"{host}:{port}" for host, port in self.addresses)


def read_redis_url(url: str) -> RedisTarget:
    """
    Read the URL of a Redis store.

    Raises:
        BadValue: Its parts make no sense. Messages show no password.
    """
    scheme, _, rest = url.partition("://")
    login, _, rest = rest.rpartition("@")  # first of all: nothing of it may be taken for something that is shown
    username, _, password = login.partition(":")
    place, _, query = rest.partition("?")
    hosts, _, path = place.partition("/")
    options = _options(query)
    cluster = scheme == "redis+cluster"
    tls = _truth(options.pop("ssl", "false"), "ssl") or scheme == "rediss"
    return RedisTarget(
        _addresses(hosts, cluster),
        cluster,
        tls,
        _database(path, cluster),
        unquote(username) or None,
        unquote(password) or None,
        _prefix(options.pop("prefix", "sm")),
        _seconds(options.pop("socket_timeout", TIMEOUT)),
        _seconds(options.pop("socket_connect_timeout", TIMEOUT)),
        _seconds(options.pop("background_timeout", BACKGROUND_TIMEOUT)),
        MappingProxyType(_for_client(options, tls)),
    )


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise BadValue(f"options of {', '.join(_OPTIONS)}", f"{did_you_mean(name, _OPTIONS)}{_WRITE}", repr(name))
        options[name] = value
    return options


def _addresses(hosts: str, several: bool) -> tuple[Address, ...]:
    parts = (hosts or "localhost").split(",")
    if len(parts) > 1 and not several:
        raise BadValue("one host", "Several are for redis+cluster://; write the one that is the master", repr(hosts))
    return tuple(_address(part) for part in parts)


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text, "6379"
    host = host.strip("[]")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadValue("a host and a port", _WRITE, repr(text))
    return host, int(port)


def _database(path: str, cluster: bool) -> int:
    if path == "":
        return 0
    if not (path.isascii() and path.isdecimal()) or (cluster and int(path) != 0):
        raise BadValue("the number of a database (a cluster has 0 only)", _WRITE, repr(f"/{path}"))
    return int(path)


def _prefix(text: str) -> str:
    if _PREFIX.fullmatch(text) is None:
        raise BadValue("a prefix of 1 to 32 characters A-Z a-z 0-9 _ . : -", "Write ?prefix=shop", repr(text))
    return text


def _seconds(text: str | float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.001 <= seconds <= 60:
        raise BadValue("timeouts of 0.001 to 60 seconds", "Write ?socket_timeout=0.05", repr(text))
    return seconds


def _truth(text: str, name: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise BadValue("true or false", f"Write ?{name}=true", repr(text))
    return text.lower() in ("true", "1")


def _for_client(options: Mapping[str, str], tls: bool) -> dict[str, object]:
    given: dict[str, object] = dict(options)
    if "ssl_check_hostname" in options:
        given["ssl_check_hostname"] = _truth(options["ssl_check_hostname"], "ssl_check_hostname")
    if options.get("ssl_cert_reqs", "required") not in ("required", "optional", "none"):
        raise BadValue("required, optional or none", "Write ?ssl_cert_reqs=required", repr(options["ssl_cert_reqs"]))
    if not tls and any(name.startswith("ssl_") for name in options):
        raise BadValue("no ssl_ options without TLS", "Write rediss://, or ?ssl=true for a cluster")
    return given
