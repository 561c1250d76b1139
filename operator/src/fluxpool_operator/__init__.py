"""The kopf operator that turns a FluxPool into inference pods and sizes it."""
