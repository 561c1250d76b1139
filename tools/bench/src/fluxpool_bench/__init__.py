"""Measures an OpenAI-compatible image server from outside: what was asked, when, and when the whole answer was there.

`workload` says what to ask, `arrivals` says when, `client` asks once, `runner` asks many times, `summary` counts, and
`table`, `report` and `plots` tell a person. Nothing here knows fluxpool but `rows`, which reads `fluxpool_batch_rows`
where a server has it.
"""
