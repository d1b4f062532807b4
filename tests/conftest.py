"""What holds for all tests.

Hypothesis draws new examples at each run and prints how to repeat one that fails. A deadline for a
single example would measure the machine and its other load, so there is none: the limit is the
test's own timeout.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "levada", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("levada")
