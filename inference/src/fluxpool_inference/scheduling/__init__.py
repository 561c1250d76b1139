"""The decisions of the engine, as pure functions on plain values: no torch, no clock, no IO.

- `bucket` says which images can share a forward,
- `costs` how long things take,
- `memory` what fits into the device, `limits` how many rows a step may have,
- `deadlines` who is urgent,
- `choice` who is in the next step,
- `forecast` when each image will start and end,
- `admission` who gets in,
- `placement` which of several workers makes an image.
"""
