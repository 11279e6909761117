"""
PostgreSQL as session store and history use it: bounded in time, safe to fork, alike in sync and async code.

psycopg is imported below this package only. What is done with a database is written once, as generators that yield
statements and are sent rows (``work``); ``Database`` drives them over connections of either kind.
"""

from __future__ import annotations

from ..exceptions import MissingDependency

try:
    import psycopg  # noqa: F401  before the modules that take it for granted
except ImportError as error:  # also raised when psycopg is there, but no libpq
    raise MissingDependency("postgresql://", "psycopg", "postgres") from error

from .database import Database
from .schema import Part, State, migrate
from .url import Address, parse
from .work import Rows, Work

__all__ = ["Address", "Database", "Part", "Rows", "State", "Work", "migrate", "parse"]
