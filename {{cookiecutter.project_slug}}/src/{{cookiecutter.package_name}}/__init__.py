"""Data, training and serving of the forecasts."""

__version__ = "0.1.0"
