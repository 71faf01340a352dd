"""Time per step and member: groups of an ablation against single runs, measured in turn, for both recipes.

    python -m benchmarks.ablate [--members=8] [--steps=55] [--rounds=5]

A ratio below 1 means that a group is faster per member. Groups run `in turn` on a CPU and `in parallel` (`jax.vmap`) on
a GPU. The single runs are compiled once, too, unlike those of gradejax.main.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import ConfigDict

from configs import cnn, mlp
from gradejax import population, prepare
from gradejax.batches import Batch
from gradejax.step import TrainState, hyperparameters, initial_state, steps_function

_MEMBERS = flags.DEFINE_integer("members", 8, "Members of a group.")
_STEPS = flags.DEFINE_integer("steps", 55, "Steps that are taken at once.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Measurements to take the median of, after a first one that compiles.")


def main(_: list[str]) -> None:
    """Prints a line for each recipe and each way to train a group."""
    for name, recipe in (("mlp", mlp), ("cnn", cnn)):
        times = _measured(recipe.get_config())
        single = median(times.pop("single"))
        print(f"{name}: single runs {1e3 * single:.2f} ms per step, {_MEMBERS.value} members, {jax.devices()[0]}")
        for way, seconds in times.items():
            print(f"  {way}: {1e3 * median(seconds):.2f} ms per step and member, ratio {median(seconds) / single:.2f}")


def _measured(config: ConfigDict) -> dict[str, list[float]]:
    members, steps, batch = _MEMBERS.value, _STEPS.value, config.train.batch_size
    rng = np.random.default_rng(0)
    size = config.data.size
    ink = rng.integers(0, 256, (members, steps, batch, size, size), np.uint8)
    batches = Batch(ink, rng.integers(0, 15, (members, steps, batch), np.int32))
    counts = np.full(members, steps, np.int32)
    network = prepare.network(config)
    hparams = hyperparameters(network, config, steps * batch)
    step = steps_function(network)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * members), hparams)

    def single(states: list[TrainState]) -> Any:
        return [step(hparams, state, Batch(batches.ink[i], batches.labels[i])) for i, state in enumerate(states)]

    def group(over_members: Callable) -> Callable:
        train = population.build_program(config, over_members).train
        return lambda states: train(stacked, jax.tree.map(lambda *leaves: jnp.stack(leaves), *states), batches, counts)

    ways = {
        "single": single,
        "in turn": group(population.sequential_vmap),
        "in parallel": group(jax.vmap),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(_ROUNDS.value + 1):
        for way, run in ways.items():
            states = [initial_state(network, hparams) for _ in range(members)]
            jax.block_until_ready(states)
            began = time.perf_counter()
            jax.block_until_ready(run(states))
            if number:
                times[way].append((time.perf_counter() - began) / members / steps)
    return times


if __name__ == "__main__":
    app.run(main)
