"""A recogniser as StableHLO, the portable format that JAX and other compilers of its family read."""

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array, Float, UInt8

from gradejax.recogniser import Recogniser

PLATFORMS = ("cpu", "cuda")


def to_stablehlo(recogniser: Recogniser) -> bytes:
    """Exports a recogniser, its variables and its temperature included.

    The program takes ink `(1, size, size)` as uint8 and returns the confidence in each label, `(1, labels)` as float32,
    on any of `PLATFORMS`. `jax.export.deserialize` reads it; JAX promises to for six months after it was written
    (https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees).
    """

    def confidences(ink: UInt8[Array, "1 size size"]) -> Float[Array, "1 labels"]:
        logits = recogniser.logits_of(recogniser.variables, ink)
        return jax.nn.softmax(logits / jnp.float32(recogniser.calibration.temperature))

    ink = jax.ShapeDtypeStruct((1, recogniser.size, recogniser.size), jnp.uint8)
    return bytes(export.export(jax.jit(confidences), platforms=PLATFORMS)(ink).serialize())
