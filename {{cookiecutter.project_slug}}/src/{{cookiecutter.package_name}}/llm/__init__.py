"""Language models: an ensemble of them, and the job that has them explain a forecast."""
