"""The tier of the policies, for whoever checks one before it is used."""

from collections.abc import Mapping

from ..problem import FEATURES
from ..shared.definitions import Interface

TIER = "umbrella"
TARGET = "carry"
"""The one output of a policy: the probability with which it would carry the umbrella."""

INTERFACES: Mapping[str, Interface] = {
    TIER: Interface(
        features=tuple(FEATURES),
        targets=(TARGET,),
        strict=True,
        trained="POST /jobs/train-policy (services/worker-rl/README.md)",
    )
}
"""It takes what a forecast takes. No policy is promoted that is not better than the fixed ones."""
