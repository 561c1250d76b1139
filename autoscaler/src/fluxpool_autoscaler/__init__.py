"""The decision function of fluxpool: two numbers from one observation, pure."""
