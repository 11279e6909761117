"""What telemetry does with the spans inside a session, compiled from the settings once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .dialects import Dressing
from .privacy import Hider, hide_all


@dataclass(frozen=True, slots=True)
class SpanRules:
    """
    What is counted, shown and kept of the spans that others make inside a session.

    Attributes:
        dialects: Back ends whose own attribute names are written besides the conventions'.
        capture: Content (messages, tool arguments and results) may be kept; otherwise lengths only.
        limit: Of one content, in bytes of UTF-8.
        redact: Application's way to take out what must not be kept: gets the text and what it is (``input``,
            ``output``, ``text``, ``reasoning``, ``tool_call``, ``tool_result``), returns what may be kept of it, None
            for nothing. None keeps content as it is.
        price: Application's way to price a model call, None for the price list that is installed, if one is.
        input_text: Where the user's words stand in a request: a JSON path, or a function of the body.
        output_text: Where the answer stands in a response, the same.
        told: Called with back end and attribute when a value had to be made fit for it.
        dressing: The dialects, put together.
        stamper: The same where any of them stands on every span, else None: asked once a request.
        hide: Takes personal data out of text that becomes an attribute, a name or a message.
    """

    dialects: frozenset[str] = frozenset({"openinference"})
    capture: bool = False
    limit: int = 64 * 1024
    redact: Callable[[str, str], Any] | None = None
    price: Callable[..., Any] | None = None
    input_text: str | Callable[..., Any] | None = None
    output_text: str | Callable[..., Any] | None = None
    hide: Hider = hide_all
    told: Callable[[str, str], None] | None = None
    dressing: Dressing = field(init=False, repr=False, compare=False)
    stamper: Dressing | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Put the dialects together."""
        dressing = Dressing(self.dialects, self.told)
        object.__setattr__(self, "dressing", dressing)
        object.__setattr__(self, "stamper", dressing if dressing.stamped else None)


DEFAULT_RULES = SpanRules()
