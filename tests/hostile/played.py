"""How many sites are tried: a few in every run, the same ones; with ``HYPOTHESIS_PROFILE=explore`` many, and others."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.hostile.truth import TICK

pauses = st.sampled_from([0, 1, TICK // 5, TICK - 1, TICK, 2 * TICK + 7])
"""Seconds that pass before something happens."""


def examples(few: int) -> settings:
    """``few`` sites, or many."""
    explore = settings.get_current_profile_name() == "explore"
    return settings(
        max_examples=few * 200 if explore else few,
        derandomize=not explore,
        phases=[Phase.generate, *([Phase.reuse, Phase.shrink] if explore else [])],  # shrinking takes minutes
        report_multiple_bugs=False,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
