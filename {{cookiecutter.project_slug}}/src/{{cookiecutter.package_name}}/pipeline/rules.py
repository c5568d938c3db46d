"""The rules of config/pipeline.yaml: the series, and when to warn of what."""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..problem import Observation
from ..shared.console import AppError, explain

FILE = Path("config/pipeline.yaml")

Interval = Literal["1d", "1w"]


class RulesError(AppError):
    """The rules are invalid."""

    exit_code = 2


class Rule(BaseModel):
    """The event that a series warns of, and how its days are aggregated to weeks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: str
    least: float | None = None
    """Lower bound of the values, and so of the forecasts."""
    week: Literal["highest", "lowest", "mean", "sum"]
    event: str
    side: Literal["above", "below"]
    threshold: dict[Interval, float]
    cost: Annotated[float, Field(gt=0)]
    loss: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def check_whole(self) -> Self:
        """Refuse a warning that costs more than it saves, and an interval without threshold."""
        if self.cost >= self.loss:
            raise ValueError(f"cost {self.cost:g} should be less than loss {self.loss:g}")
        if missing := sorted({"1d", "1w"} - set(self.threshold)):
            raise ValueError(f"threshold: missing for {missing[0]}")
        return self

    @property
    def warn_from(self) -> float:
        """Return the probability from which to warn: the ratio of cost to loss.

        Murphy, The Value of Climatological, Categorical and Probabilistic Forecasts in the
        Cost-Loss Ratio Situation, Monthly Weather Review 105 (1977).
        """
        return self.cost / self.loss

    def happened(self, value: float, interval: Interval) -> bool:
        """Return whether a value is on or beyond the threshold."""
        threshold = self.threshold[interval]
        return value >= threshold if self.side == "above" else value <= threshold


class Rules(BaseModel):
    """All series, and the weight of opinions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    opinion_share: Annotated[float, Field(ge=0, lt=1)]
    series: dict[str, Rule]

    @model_validator(mode="after")
    def check_series(self) -> Self:
        """Refuse a series that observations do not have."""
        fields = Observation.model_fields
        for name in self.series:
            if name not in fields or fields[name].annotation is not float:
                known = ", ".join(key for key, one in fields.items() if one.annotation is float)
                raise ValueError(f"series {name}: the numbers of an observation are {known}")
        return self


def load(file: Path = FILE) -> Rules:
    """Return the rules; raises RulesError, which names the place of every mistake."""
    try:
        return Rules.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise RulesError(f"cannot read {explain(error)}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise RulesError(f"{file}: {error}") from None
    except ValidationError as error:
        mistakes = [
            f"{file}: {'.'.join(map(str, details['loc'])) or 'rules'}:"
            f" {details['msg'].removeprefix('Value error, ')}"
            for details in error.errors()
        ]
        raise RulesError("\n  ".join(["these rules cannot be used:", *mistakes])) from None
