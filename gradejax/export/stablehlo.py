"""A recogniser as StableHLO, the portable format that JAX and other compilers of its family read."""

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array, Float, UInt8

from gradejax.recogniser import Chosen

PLATFORMS = ("cpu", "cuda")


def to_stablehlo(chosen: Chosen) -> bytes:
    """Exports a recogniser, its variables and its temperature included.

    The program takes ink `(1, size, size)` as uint8 and returns the confidence in each label, `(1, labels)` as float32,
    and `Calibration.scores`, `(1,)`, on any of `PLATFORMS`. `jax.export.deserialize` reads it; JAX promises to for six
    months after it was written (https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees).
    """
    recogniser = chosen.recogniser

    def read(ink: UInt8[Array, "1 size size"]) -> tuple[Float[Array, "1 labels"], Float[Array, "1"]]:
        logits = recogniser.logits_of(recogniser.variables, ink) / jnp.float32(recogniser.calibration.temperature)
        labels = len(recogniser.labels)
        return jax.nn.softmax(logits[:, :labels]), jax.nn.softmax(logits)[:, :labels].max(axis=1)

    ink = jax.ShapeDtypeStruct((1, recogniser.size, recogniser.size), jnp.uint8)
    return bytes(export.export(jax.jit(read), platforms=PLATFORMS)(ink).serialize())
