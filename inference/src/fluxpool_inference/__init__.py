"""The FLUX inference service of fluxpool: continuous batching at the level of one denoising step."""
