"""The agent's tools: real code, no network. What they cannot do they say with ``ToolError``."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from session_mw import tool_call

from . import journey

STATUSES = ("packed", "on its way", "at the harbour", "with the courier")
MAX_EXPRESSION = 200  # characters

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class ToolError(Exception):
    """The tool could not do what it was asked for; the text says why, fit for the model."""


@tool_call("look_up_order")
async def look_up_order(number: str) -> str:
    """
    Tell where an order is. It follows from its number, so the answer never changes.

    Raises:
        ToolError: There is no such order.
    """
    value = int(number)
    if value % 7 == 0:
        raise ToolError(f"There is no order {number}. Please check the number.")
    journey.order_found()
    return f"Order {number} is {STATUSES[value % len(STATUSES)]}. It will be with you in {value % 3 + 2} days."


@tool_call("calculate")
async def calculate(expression: str) -> str:
    """
    Work out a sum of numbers with ``+ - * /``.

    Raises:
        ToolError: It is no such sum, or divides by zero.
    """
    try:
        if len(expression) > MAX_EXPRESSION:
            raise ValueError
        value = _value(ast.parse(expression, mode="eval").body)
        return f"{expression} comes to {value:g}."
    except (ValueError, SyntaxError, ArithmeticError, RecursionError):
        raise ToolError(f"I cannot work out {expression[:MAX_EXPRESSION]}.") from None


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return float(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError("neither a number nor a sum")


Tool = Callable[..., Any]
TOOLS: dict[str, Tool] = {"look_up_order": look_up_order, "calculate": calculate}
