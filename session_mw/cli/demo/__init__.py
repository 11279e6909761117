"""
``session-mw demo``: the example application under real load, and a check of everything that came out.

The script of the conversations (``script``) is the only thing that is known beforehand. What is printed was read back:
from the SQLite file, from the OTLP bytes that a receiver got, and from the books that the example's model keeps for
itself; ``checks`` holds these against each other and against the script.
"""

from __future__ import annotations
