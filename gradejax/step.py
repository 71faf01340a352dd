"""One training step: the optimizer, the loss and the state; and many steps in a row as one `lax.scan`."""

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
    """Everything that changes from step to step.

    Attributes:
        step: the number of steps taken.
        variables: those being trained.
        optimizer: optax's state.
        average: the exponential moving average of `variables`; None if `train.ema_decay` is 0.
    """

    step: Int32[Array, ""]
    variables: Variables
    optimizer: optax.OptState
    average: Variables | None

    def evaluated(self) -> Variables:
        """The variables to predict with."""
        return self.variables if self.average is None else self.average


class Hyperparameters(NamedTuple):
    """The numbers of a recipe that a step needs. They are traced: trainings that differ only in them share a program.

    Attributes:
        seed: for dropout.
        learning_rate: its peak.
        learning_rate_end: the fraction of the peak that is left after the last step.
        warmup_steps: steps until the peak.
        steps: in the whole training.
        weight_decay: AdamW's, applied to kernels only.
        label_smoothing: from 0 to below 1.
        ema_decay: of the moving average of the variables; 0 for none.
        dropout: the rate of each dropout layer.
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


LossAndAccuracy = Float[Array, "2"]
StepFunction = Callable[[Hyperparameters, TrainState, Batch], tuple[TrainState, LossAndAccuracy]]
StepsFunction = Callable[[Hyperparameters, TrainState, Batch | BatchPlan], tuple[TrainState, Float[Array, "steps 2"]]]


def hyperparameters(network: Network, config: ConfigDict, n_train: int) -> Hyperparameters:
    """Those of a recipe, for training `network` on `n_train` drawings."""
    settings = config.train
    steps_an_epoch = steps_per_epoch(n_train, settings.batch_size)
    steps = settings.epochs * steps_an_epoch
    return Hyperparameters(
        seed=config.seed,
        learning_rate=settings.learning_rate,
        learning_rate_end=settings.learning_rate_end,
        warmup_steps=min(round(settings.warmup_epochs * steps_an_epoch), steps - 1),
        steps=steps,
        weight_decay=settings.weight_decay,
        label_smoothing=settings.label_smoothing,
        ema_decay=settings.ema_decay,
        dropout=tuple(map(float, network.dropout_rates())),
    )


def learning_rate(hparams: Hyperparameters, step: Int32[Array, ""]) -> Float[Array, ""]:
    """Linear warm-up to the peak, then a cosine down to the end (Loshchilov and Hutter, SGDR, 2017, equation 5)."""
    # optax's own schedules cannot be traced in their numbers of steps.
    progress = (step - hparams.warmup_steps) / (hparams.steps - hparams.warmup_steps)
    cosine = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1)))
    decayed = hparams.learning_rate_end + (1 - hparams.learning_rate_end) * cosine
    return hparams.learning_rate * jnp.where(progress < 0, step / jnp.maximum(hparams.warmup_steps, 1), decayed)


def optimizer(hparams: Hyperparameters) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter, 2019) with `learning_rate`; kernels alone decay."""

    def are_kernels(parameters: nnx.State) -> nnx.State:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, parameters)

    schedule = partial(learning_rate, hparams)
    return optax.adamw(schedule, weight_decay=hparams.weight_decay, mask=are_kernels)  # pyright: ignore[reportArgumentType]


def initial_state(network: Network, hparams: Hyperparameters) -> TrainState:
    """The state before the first step."""
    variables = initial_variables(network)
    # A step reuses the state's memory, so the average must not share any with the variables.
    average = initial_variables(network) if hparams.ema_decay > 0 else None
    return TrainState(jnp.int32(0), variables, optimizer(hparams).init(variables.parameters), average)  # pyright: ignore[reportArgumentType]


def step_function(network: Network) -> StepFunction:
    """The function that takes one step, to be traced.

    It returns the new state and the batch's mean loss and accuracy. A drawing with the label -1 is not a grade: the
    target is that all grades are equally likely ("outlier exposure", Hendrycks, Mazeika and Dietterich, 2019), and the
    accuracy leaves it out.

    Args:
        network: gives the structure; its own variables are not used. It is left in training mode.
    """
    network.train()
    graph, _, _ = nnx.split(network, nnx.Param, ...)

    def loss_of(
        parameters: nnx.State, statistics: nnx.State, batch: Batch, hparams: Hyperparameters, key: Array
    ) -> tuple[Array, tuple[nnx.State, LossAndAccuracy]]:
        model = nnx.merge(graph, parameters, statistics, copy=True)
        logits = model(jnp.asarray(batch.ink), nnx.Rngs(dropout=key), hparams.dropout)
        is_grade, classes = batch.labels >= 0, logits.shape[-1]
        targets = optax.smooth_labels(jax.nn.one_hot(batch.labels, classes), hparams.label_smoothing)
        loss = optax.softmax_cross_entropy(logits, jnp.where(is_grade[:, None], targets, 1 / classes)).mean()
        accuracy = (logits.argmax(axis=-1) == batch.labels).sum() / jnp.maximum(is_grade.sum(), 1)
        return loss, (nnx.state(model, nnx.Not(nnx.Param)), jnp.stack([loss, accuracy]))

    def step(hparams: Hyperparameters, state: TrainState, batch: Batch) -> tuple[TrainState, LossAndAccuracy]:
        parameters, statistics = state.variables
        key = jax.random.fold_in(jax.random.key(hparams.seed), state.step)
        gradients, (statistics, metrics) = jax.grad(loss_of, has_aux=True)(parameters, statistics, batch, hparams, key)
        updates, optimizer_state = optimizer(hparams).update(gradients, state.optimizer, parameters)
        parameters: nnx.State = optax.apply_updates(parameters, updates)  # pyright: ignore[reportAssignmentType]
        variables = Variables(parameters, statistics)
        average = state.average
        if average is not None:
            # At first the average follows fast; otherwise it would hold on to the initial values.
            decay = jnp.minimum(hparams.ema_decay, (1 + state.step) / (10 + state.step))
            average = optax.incremental_update(variables, average, 1 - decay)  # pyright: ignore
        return TrainState(state.step + 1, variables, optimizer_state, average), metrics  # pyright: ignore[reportArgumentType]

    return step


def steps_function(network: Network, ink: UInt8[Array, "n size size"] | None = None) -> StepsFunction:
    """The jitted function that takes as many steps as it is given batches.

    It returns the new state, and for each step the batch's mean loss and accuracy. It reuses the old state's memory.

    Args:
        network: as in `step_function`.
        ink: of all drawings, on the device. With it the function takes a `BatchPlan`, and distorts the drawings there;
            without it, a `Batch`.
    """
    step = step_function(network)

    @partial(jax.jit, donate_argnums=1, compiler_options=ops.compiler_options())
    def steps(
        hparams: Hyperparameters, state: TrainState, ink: Array | None, batches: Batch | BatchPlan
    ) -> tuple[TrainState, Float[Array, "steps 2"]]:
        def one(state: TrainState, batch: Batch | BatchPlan) -> tuple[TrainState, LossAndAccuracy]:
            if isinstance(batch, BatchPlan):
                assert ink is not None
                batch = Batch(augment_device.distort(ink[batch.rows], batch.distortions), batch.labels)
            return step(hparams, state, batch)

        return jax.lax.scan(one, state, batches)

    return lambda hparams, state, batches: steps(hparams, state, ink, batches)
