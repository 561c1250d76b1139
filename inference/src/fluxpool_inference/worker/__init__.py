"""The process that owns a device. Only this package (and `tiny_model`) imports torch, diffusers and transformers.

One thread owns the device, the model, the tokenizers and the loop; two more talk to the HTTP process.

- `__main__` starts it all,
- `checkpoint` finds a model and refuses those this engine cannot run,
- `loading` turns it into a `flux.FluxModel`, which knows the mathematics of FLUX and nothing of scheduling,
- `quantize`, `offload`, `compilation` and `attention` are options of that, each by a library's own means,
- `graphs` replays the transformer's forwards as CUDA graphs, `graph_choice` keeps those that gain,
- `memory` measures what fits,
- `stages` says where the time of a start goes,
- `warm_up` measures what its steps cost, on the images of `trial`,
- `loop` decides what the device does next, and survives what goes wrong,
- `prompts` remembers embeddings, `text` says how many are made at once,
- `pacing` holds steps, `device` knows the hardware.
"""
