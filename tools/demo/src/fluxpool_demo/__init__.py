"""Shows a FluxPool at work: load, decisions, report and pictures."""
