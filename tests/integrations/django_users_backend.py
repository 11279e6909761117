"""Where Django loads users from, in a file of its own: it can be imported only once Django is set up."""

from __future__ import annotations

from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend


class CountingBackend(ModelBackend):
    """Django's own, noting whom it loads."""

    loaded: ClassVar[list[Any]] = []

    def get_user(self, user_id: Any) -> Any:
        self.loaded.append(user_id)
        return super().get_user(user_id)

    async def aget_user(self, user_id: Any) -> Any:
        return await sync_to_async(self.get_user)(user_id)
