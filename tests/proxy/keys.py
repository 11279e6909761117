"""LiteLLM's own checks with keys of many kinds, and no database: its ``custom_auth`` says what a key may do."""

from __future__ import annotations

from pathlib import Path

MASTER = "sk-test-master-0123456789abcdef0123456789abcdef"

# Runs inside LiteLLM's process.
CODE = """
import litellm
from fastapi import HTTPException
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth

MAY = {
    "sk-good": {},
    "sk-slow": {"rpm_limit": 1},
    "sk-other": {"models": ["gpt-4o"]},
}


async def check(request, api_key):
    if api_key == "sk-blocked":
        raise HTTPException(403, "this key is blocked")
    if api_key == "sk-poor":  # LiteLLM looks into its database for what a key has spent, and raises this
        raise litellm.BudgetExceededError(current_cost=2.0, max_budget=1.0)
    if api_key not in MAY:
        raise HTTPException(401, "nobody knows this key")
    return UserAPIKeyAuth(api_key=api_key, user_role=LitellmUserRoles.INTERNAL_USER, **MAY[api_key])
"""
SETTINGS = """
general_settings:
  master_key: {master}
  custom_auth: keys.check
  custom_auth_run_common_checks: true
"""


def with_keys(config: Path) -> None:
    """Let the proxy of *config* ask for keys."""
    (config.parent / "keys.py").write_text(CODE)
    checks = "litellm_settings:\n  enable_post_custom_auth_checks: true"
    config.write_text(config.read_text().replace("litellm_settings:", checks) + SETTINGS.format(master=MASTER))
