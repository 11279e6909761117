"""The address of a database, as libpq reads it, and as it may be shown."""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .._settings.errors import MASK
from ..exceptions import SettingsError

CONNECT_SECONDS = 5  # for one attempt, in the background; requests do not wait so long


@dataclass(frozen=True, slots=True)
class Address:
    """
    Where a database is.

    Attributes:
        told: For libpq; holds the password.
        shown: For messages; does not.
    """

    told: str = field(repr=False)
    shown: str


def parse(url: str, setting: str) -> Address:
    """
    Read a ``postgresql://`` URL, with all that libpq allows in it.

    Args:
        url: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS; for a schema of its own
            ``?options=-csearch_path%3Dname``.
        setting: Its name, for the error.

    Raises:
        SettingsError: libpq cannot read it. What was found is not shown: any part may be the password.
    """
    try:
        found = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        found = None
    if found is None or not all(port.isdigit() for port in str(found.get("port") or 0).split(",")):
        hint = f"Write postgresql://user:{MASK}@host:5432/name, with / : @ ? # % in the password as %2F and so on"
        text = f"cannot use {setting}: found a URL that libpq cannot read. {hint}."
        raise SettingsError(text, name=setting, hint=hint)
    more = {} if "connect_timeout" in found else {"connect_timeout": CONNECT_SECONDS}
    return Address(make_conninfo(url, fallback_application_name="session-mw", **more), _shown(found))


def _shown(found: dict[str, str | int | None]) -> str:
    user = f"{found['user']}{':' + MASK if found.get('password') else ''}@" if found.get("user") else ""
    host = str(found.get("host") or found.get("hostaddr") or "")
    port = f":{found['port']}" if found.get("port") else ""
    return f"postgresql://{user}{host}{port}/{found.get('dbname') or ''}"
