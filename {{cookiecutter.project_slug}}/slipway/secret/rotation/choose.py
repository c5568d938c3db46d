"""Which kind of rotation a secret needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.config import schema
from slipway.core.errors import Refused
from slipway.secret.rotation import OVERLAP, VERB
from slipway.secret.rotation.api_key import API_KEY, API_KEY_PREVIOUS, ApiKeyRotation
from slipway.secret.rotation.base import RotationRequest
from slipway.secret.rotation.env_file import EnvFileRotation
from slipway.secret.rotation.external import ProviderSecretRotation
from slipway.secret.rotation.postgres import POSTGRES_PASSWORD, PostgresPasswordRotation
from slipway.secret.rotation.redis import REDIS_PASSWORD, RedisPasswordRotation
from slipway.secret.rotation.signing_key import SIGNING, SigningKeyRotation

if TYPE_CHECKING:
    from datetime import timedelta

    from slipway.config.schema import Variable
    from slipway.secret.rotation.base import SecretRotation
    from slipway.stack.session import Session

KINDS: dict[str, type[SecretRotation]] = {
    POSTGRES_PASSWORD: PostgresPasswordRotation,
    REDIS_PASSWORD: RedisPasswordRotation,
    API_KEY: ApiKeyRotation,
    SIGNING: SigningKeyRotation,
}


def choose_rotation(session: Session, name: str, overlap: timedelta = OVERLAP) -> SecretRotation:
    """Return the rotation of a secret; nothing is changed yet.

    Raises:
        Refused: there is no such secret, or it cannot be rotated from here.
    """
    # The signing key's variable names a file, has no random value, and so is not in the schema.
    variable = schema.Variable(name) if name == SIGNING else _known_secret(session, name)
    usual = ProviderSecretRotation if variable.given else EnvFileRotation
    return KINDS.get(name, usual)(RotationRequest(session, variable, overlap))


def _known_secret(session: Session, name: str) -> Variable:
    """Return the variable of a secret.

    Raises:
        Refused: there is no such secret, or it follows from another.
    """
    variables = {item.name: item for item in schema.read(session.project)}
    secrets = {item.name for item in variables.values() if item.is_secret}
    if name == API_KEY_PREVIOUS:
        raise Refused(f"{name} is the previous key", f"inv {VERB} {API_KEY}", code=2)
    if name in variables and name not in secrets:
        what = f"{name} is not a secret; its owner: {variables[name].owner or 'not recorded'}"
        raise Refused(what, f"edit {session.project.env_file(session.profile).name}", code=2)
    if name not in variables:
        known = sorted({SIGNING, *secrets} - {API_KEY_PREVIOUS})
        what = f"there is no secret {name!r}{schema.did_you_mean(name.upper(), known)}"
        raise Refused(what, f"choose one of: {', '.join(known)}", code=2)
    return variables[name]
