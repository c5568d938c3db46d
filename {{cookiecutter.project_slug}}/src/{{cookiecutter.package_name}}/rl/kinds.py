"""The kinds of jobs that train and evaluate policies."""

from pydantic import BaseModel, ConfigDict, Field

from ..jobs.kinds import Kind

QUEUE = "rl"

SEED = 2026
STEPS = 20_000
"""Days to simulate by default."""


class TrainPolicy(BaseModel):
    """A training run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(
        default=STEPS, ge=1, le=10_000_000, description="Days to simulate, over all episodes"
    )
    seed: int = Field(default=SEED, ge=0, lt=2**32, description="Random seed")
    resume: bool = Field(
        default=False, description="Continue the newest run with this seed, up to `steps`"
    )


class EvaluatePolicy(BaseModel):
    """An evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(
        default="", pattern=r"^(v\d+\.\d+)?$", description="Such as v1.0; default: the current one"
    )


KINDS = (
    Kind(
        name="train-policy",
        queue=QUEUE,
        payload=TrainPolicy,
        run="rl.work:train_policy",
        max_attempts=3,
        time_limit=3600.0,
    ),
    Kind(
        name="evaluate-policy",
        queue=QUEUE,
        payload=EvaluatePolicy,
        run="rl.work:evaluate_policy",
        max_attempts=3,
        time_limit=300.0,
    ),
)
