"""The HTTP edge: parse, call the engine, format. Nothing here decides."""
