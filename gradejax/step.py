"""One training step, to be traced: the optimizer, the loss, the state; and many steps in a row as one `lax.scan`."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int32, UInt8
from ml_collections import ConfigDict

from gradejax import augment_device, ops
from gradejax.batches import Batch, BatchPlan, steps_per_epoch
from gradejax.forward import Variables, initial_variables
from gradejax.models import Network


class TrainState(NamedTuple):
    """All that changes from step to step.

    Attributes:
        step: how many steps were taken.
        variables: being trained.
        optimizer: optax's state.
        average: the exponential moving average of `variables`; None where `train.ema_decay` is 0.
    """

    step: Int32[Array, ""]
    variables: Variables
    optimizer: optax.OptState
    average: Variables | None

    def evaluated(self) -> Variables:
        """The variables to predict with."""
        return self.variables if self.average is None else self.average


class Hyperparameters(NamedTuple):
    """The numbers of a recipe that a step needs. They are traced: trainings that differ in them share a program.

    Attributes:
        seed: of dropout.
        learning_rate: at its peak.
        learning_rate_end: fraction of the peak that is left after the last step.
        warmup_steps, steps: until the peak; in all.
        dropout: a rate for each dropout layer.
    """

    seed: int
    learning_rate: float
    learning_rate_end: float
    warmup_steps: int
    steps: int
    weight_decay: float
    label_smoothing: float
    ema_decay: float
    dropout: tuple[float, ...]


def hyperparameters(network: Network, config: ConfigDict, n_train: int) -> Hyperparameters:
    """Those of a config for a training on `n_train` drawings."""
    settings = config.train
    steps_each = steps_per_epoch(n_train, settings.batch_size)
    steps = settings.epochs * steps_each
    return Hyperparameters(
        seed=config.seed,
        learning_rate=settings.learning_rate,
        learning_rate_end=settings.learning_rate_end,
        warmup_steps=min(round(settings.warmup_epochs * steps_each), steps - 1),
        steps=steps,
        weight_decay=settings.weight_decay,
        label_smoothing=settings.label_smoothing,
        ema_decay=settings.ema_decay,
        dropout=tuple(map(float, network.dropout_rates())),
    )


def learning_rate(numbers: Hyperparameters, step: Int32[Array, ""]) -> Float[Array, ""]:
    """Linear warm-up to the peak, then a cosine down to its end (Loshchilov and Hutter, SGDR, 2017, equation 5)."""
    # optax's own schedule wants its numbers of steps before it is traced.
    along = (step - numbers.warmup_steps) / (numbers.steps - numbers.warmup_steps)
    cosine = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(along, 0, 1)))
    falling = numbers.learning_rate_end + (1 - numbers.learning_rate_end) * cosine
    return numbers.learning_rate * jnp.where(along < 0, step / jnp.maximum(numbers.warmup_steps, 1), falling)


def optimizer(numbers: Hyperparameters) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter, 2019) with `learning_rate`; decay on kernels only."""

    def kernels(parameters: nnx.State) -> nnx.State:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, parameters)

    return optax.adamw(partial(learning_rate, numbers), weight_decay=numbers.weight_decay, mask=kernels)


Step = Callable[[Hyperparameters, TrainState, Batch], tuple[TrainState, Float[Array, "2"]]]


def step_function(network: Network) -> Step:
    """One step, to be traced: from the state and a batch to the new state and the batch's mean loss and accuracy.

    A drawing with the label -1 is no grade and counts for no accuracy: each grade should be as likely as the others
    ("outlier exposure", Hendrycks, Mazeika and Dietterich, 2019).
    """
    network.train()
    graph, _, _ = nnx.split(network, nnx.Param, ...)

    def loss_of(
        parameters: nnx.State, statistics: nnx.State, batch: Batch, numbers: Hyperparameters, key: Array
    ) -> tuple[Array, tuple[nnx.State, Array]]:
        model = nnx.merge(graph, parameters, statistics, copy=True)
        logits = model(batch.ink, nnx.Rngs(dropout=key), numbers.dropout)
        graded, classes = batch.labels >= 0, logits.shape[-1]
        targets = optax.smooth_labels(jax.nn.one_hot(batch.labels, classes), numbers.label_smoothing)
        loss = optax.softmax_cross_entropy(logits, jnp.where(graded[:, None], targets, 1 / classes)).mean()
        accuracy = (logits.argmax(axis=-1) == batch.labels).sum() / jnp.maximum(graded.sum(), 1)
        return loss, (nnx.state(model, nnx.Not(nnx.Param)), jnp.stack([loss, accuracy]))

    def step(numbers: Hyperparameters, state: TrainState, batch: Batch) -> tuple[TrainState, Float[Array, "2"]]:
        parameters, statistics = state.variables
        key = jax.random.fold_in(jax.random.key(numbers.seed), state.step)
        gradients, (statistics, seen) = jax.grad(loss_of, has_aux=True)(parameters, statistics, batch, numbers, key)
        updates, optimizer_state = optimizer(numbers).update(gradients, state.optimizer, parameters)
        variables = Variables(optax.apply_updates(parameters, updates), statistics)
        average = state.average
        if average is not None:
            # Early on the average follows fast, or it would hold on to the initial values.
            decay = jnp.minimum(numbers.ema_decay, (1 + state.step) / (10 + state.step))
            average = optax.incremental_update(variables, average, 1 - decay)
        return TrainState(state.step + 1, variables, optimizer_state, average), seen

    return step


def steps_function(
    network: Network, ink: UInt8[Array, "n size size"] | None = None
) -> Callable[[Hyperparameters, TrainState, Batch | BatchPlan], tuple[TrainState, Float[Array, "steps 2"]]]:
    """The jitted function that takes as many steps as a chunk has batches.

    It returns the new state and, for each step, the batch's mean loss and accuracy. The old state's memory is reused.

    Arguments:
        ink: of all drawings, on the device. With it the function takes a plan, and distorts the drawings there.
    """
    step = step_function(network)

    @partial(jax.jit, donate_argnums=1, compiler_options=ops.compiler_options())
    def steps(
        numbers: Hyperparameters, state: TrainState, ink: Array | None, chunk: Batch | BatchPlan
    ) -> tuple[TrainState, Float[Array, "steps 2"]]:
        def one(state: TrainState, batch: Batch | BatchPlan) -> tuple[TrainState, Float[Array, "2"]]:
            if ink is not None:
                batch = Batch(augment_device.distort(ink[batch.rows], batch.distortions), batch.labels)
            return step(numbers, state, batch)

        return jax.lax.scan(one, state, chunk)

    return lambda numbers, state, chunk: steps(numbers, state, ink, chunk)


def initial_state(network: Network, numbers: Hyperparameters) -> TrainState:
    """The state before the first step."""
    variables = initial_variables(network)
    # A step reuses the state's memory, so the average must not share any with the variables.
    average = initial_variables(network) if numbers.ema_decay > 0 else None
    return TrainState(jnp.int32(0), variables, optimizer(numbers).init(variables.parameters), average)
