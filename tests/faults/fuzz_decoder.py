"""A coverage-guided fuzzer (https://github.com/google/atheris) of the path from a PNG's bytes to ink.

    python tests/faults/fuzz_decoder.py -runs=100000 [-seed=1]

The flags are libFuzzer's. It starts from valid PNGs and damages them as `mangle` does. It stops with a traceback at
anything but ink or a refusal with a reason, and at more than a second of processor time.
"""

import random
import sys
import time

import atheris

with atheris.instrument_imports(include=["gradejax.ink"]):
    from gradejax.errors import BadDrawing
    from gradejax.ink import decode_ink
    from gradejax.resampling import resample

from mangle import mangled, real_pngs

_PNGS = real_pngs(3)


def one_input(content: bytes) -> None:
    began = time.process_time()
    try:
        ink = resample(decode_ink(content), 28)
    except BadDrawing as error:
        assert str(error).startswith(("not a PNG", "damaged PNG", "image of")), error
    else:
        assert ink.shape == (28, 28)
    assert time.process_time() - began < 1, "more than a second of processor time"


def mutate(content: bytes, max_size: int, seed: int) -> bytes:
    rng = random.Random(seed)
    # Rarely start from a valid one: the fuzzer's own inputs have reached more of the code.
    if len(content) < 33 or rng.random() < 0.1:
        content = rng.choice(_PNGS)
    if rng.random() < 0.2:
        return atheris.Mutate(content, max_size)
    return mangled(content, rng)[:max_size]


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], "-max_len=8192", "-rss_limit_mb=1024", *sys.argv[1:]], one_input, custom_mutator=mutate)
    atheris.Fuzz()
