"""The helpers of the suite."""

from __future__ import annotations

import pytest

from tests.support import require_tool


def test_missing_tool_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody needs every tool to work on the code, but CI must not skip silently."""
    monkeypatch.delenv("CI", raising=False)
    require_tool("sh")
    require_tool("a module", found=True)
    for name, found in (("no-such-tool", None), ("sh", False)):
        with pytest.raises(pytest.skip.Exception, match=f"{name} is missing"):
            require_tool(name, found)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI=true expects it"):
        require_tool("no-such-tool")
