"""The tiers: those that the API serves, and those of other parts of the application.

A part of the application that makes models says in its `tiers.py` what they take and give, by tier,
in `INTERFACES`. They are kept, checked and promoted as those of the API are; who uses one reads
its link.
"""

from . import parts
from .problem import FEATURES, TARGETS, TIERS
from .shared.definitions import Interface

SERVED = Interface(
    tuple(FEATURES),
    tuple(target.name for target in TARGETS),
    probabilities=tuple(target.name for target in TARGETS if target.kind == "probability"),
)
"""What every model takes and gives that the API serves."""


def interfaces() -> dict[str, Interface]:
    """Return what the models of each tier take and give, those that the API serves first."""
    brought = (getattr(module, "INTERFACES", {}) for module in parts.having("tiers"))
    return dict.fromkeys(TIERS, SERVED) | {
        name: one for some in brought for name, one in some.items() if name not in TIERS
    }
