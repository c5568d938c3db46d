"""The stages of the pipeline: from a source of observations to a decision and its score."""
