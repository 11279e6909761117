"""
For tests of applications and of stores: time that is turned by hand, and the promises that every store keeps.

Needs no test framework; ``StoreContract`` is written in the form that pytest collects.
"""

from __future__ import annotations

from .clock import FakeClock
from .contract import StoreContract
from .sink import RecordingSink

__all__ = ["FakeClock", "RecordingSink", "StoreContract"]
