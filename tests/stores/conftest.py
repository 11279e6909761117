"""Servers that the tests of several files share."""

from __future__ import annotations

from tests.stores.redis_server import cluster as cluster
from tests.stores.redis_server import make_server as make_server
from tests.stores.redis_server import redis_cluster as redis_cluster
from tests.stores.redis_server import redis_server as redis_server
from tests.stores.redis_server import redis_url as redis_url
from tests.stores.redis_server import shared_url as shared_url
