"""The dashboard: one Streamlit page about what the API at API_URL forecasts.

It imports nothing else of the package and knows no target by name: tiers, targets, kinds, units,
metrics and baselines are read from the API's responses.
"""
