"""A policy learned by reinforcement on past weather: when to carry an umbrella."""
