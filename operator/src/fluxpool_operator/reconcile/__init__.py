"""The pure heart of the operator: a snapshot of the world in, a plan out."""
