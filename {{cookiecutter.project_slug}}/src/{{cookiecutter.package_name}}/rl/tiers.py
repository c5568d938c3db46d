"""The tier of the policies, for code that checks a policy before it is used."""

from collections.abc import Mapping

from ..problem import FEATURES
from ..shared.definitions import Interface

TIER = "umbrella"
TARGET = "carry"
"""The only output of a policy: the probability of carrying the umbrella."""

INTERFACES: Mapping[str, Interface] = {
    TIER: Interface(
        features=tuple(FEATURES),
        targets=(TARGET,),
        probabilities=(TARGET,),
        strict=True,
        trained="POST /jobs/train-policy (services/worker-rl/README.md)",
    )
}
"""It takes the features of a forecast. Only a policy better than the fixed ones is promoted."""
