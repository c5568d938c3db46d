"""The kinds of jobs that language models do."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from ..jobs.kinds import Kind
from ..problem import Key

PROBABILITY = "probability"
"""The unit of numbers between 0 and 1."""

Name = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\s\d][\w -]*$")]
Unit = Annotated[str, Field(max_length=20)]


class Forecast(BaseModel):
    """The part of the answer of POST /predict to explain; the other fields may be left in."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    target_key: Key = Field(description="The forecast period")
    prediction: dict[Name, FiniteFloat] = Field(
        min_length=1, max_length=20, description="Forecast of each target"
    )
    units: dict[str, Unit] = Field(description="Unit of each target")

    @model_validator(mode="after")
    def check_units(self) -> Self:
        """Refuse a number without a unit, and a probability outside 0 to 1."""
        for name, value in self.prediction.items():
            if name not in self.units:
                raise ValueError(f"units has no {name}")
            if self.units[name] == PROBABILITY and not 0 <= value <= 1:
                raise ValueError(f"{name} is not a probability: {value}")
        return self


class Explain(BaseModel):
    """A forecast to explain."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "example": {
                "forecast": {
                    "target_key": "2016-01-01",
                    "prediction": {"rain": 0.73, "temp_max": 5.6},
                    "units": {"rain": PROBABILITY, "temp_max": "°C"},
                }
            }
        },
    )

    forecast: Forecast = Field(description="The unmodified response of POST /predict")
    event: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\r\n]+$")] | None = (
        Field(
            default=None,
            description="An event that each model also estimates, with its confidence",
            examples=["heat (temp_max 30 °C or above)"],
        )
    )


KINDS = (
    Kind(
        name="explain",
        queue="llm",
        payload=Explain,
        run="llm.explaining:explain",
        max_attempts=3,
        time_limit=600.0,
    ),
)
