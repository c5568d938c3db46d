"""A policy learnt by trial and error on the weather as it was: when to carry an umbrella."""
