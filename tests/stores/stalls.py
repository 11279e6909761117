"""An event loop that is busy with other things while it asks a store."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from session_mw._core.ops import Touch
from session_mw._core.records import Limits

LIMITS = Limits(idle_ms=1_800_000, absolute_ms=86_400_000, turn_ms=600_000, skew_ms=60_000)


async def beside_stalls(face: Any, stalls: int, seconds: float) -> list[Any]:
    """Return what came of four first touches on a loop that others block again and again meanwhile."""
    asked = [asyncio.ensure_future(face.touch(Touch(None, f"s{number}", LIMITS))) for number in range(4)]
    for _ in range(stalls):
        await asyncio.sleep(0)
        time.sleep(seconds)  # noqa: ASYNC251  longer than one answer may take: nobody looks meanwhile
    return await asyncio.gather(*asked, return_exceptions=True)
