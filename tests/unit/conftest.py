"""How hypothesis runs here: other programs may keep the machine busy, so no example is timed."""

import hypothesis

hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")
