"""The comparison, from what is compared to what is recorded.

`cells` says what is compared, `sides` who, `processes` keeps them apart, `measure` and `overload` run them in turn,
`figures` judges, `results` keeps and records. `../compare.py` is the command.
"""
