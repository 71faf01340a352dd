"""One training step: the optimizer, the loss and the state; and many steps in a row as one `lax.scan`."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int32, UInt8
from ml_collections import ConfigDict

from gradejax import augment_device, ops
from gradejax.batches import Batch, BatchPlan, padded, steps_per_epoch
from gradejax.forward import Variables, variables_of
from gradejax.network import Network


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
        adam_epsilon: AdamW's; SGD has none.
        weight_decay: decoupled from the gradient, applied to kernels only.
        label_smoothing: from 0 to below 1.
        ema_decay: of the moving average of the variables; 0 for none.
        dropout: the rate of each dropout layer.
    """

    seed: int
    learning_rate: float
    learning_rate_end: float
    warmup_steps: int
    steps: int
    adam_epsilon: float
    weight_decay: float
    label_smoothing: float
    ema_decay: float
    dropout: tuple[float, ...]


LossAndAccuracy = Float[Array, "2"]
StepFunction = Callable[[Hyperparameters, TrainState, Batch], tuple[TrainState, LossAndAccuracy]]
StepsFunction = Callable[
    [Hyperparameters, TrainState, Batch | BatchPlan], tuple[TrainState, Float[Array | np.ndarray, "steps 2"]]
]


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
        adam_epsilon=settings.adam_epsilon,
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


_SGD_MOMENTUM = 0.9


def optimizer(hparams: Hyperparameters, name: str = "adamw") -> optax.GradientTransformation:
    """The optimizer `adamw`, or `sgd` with a momentum of 0.9.

    Both follow `learning_rate` and decay kernels alone, decoupled from the gradient (Loshchilov and Hutter, 2019).
    """

    def are_kernels(parameters: nnx.State) -> nnx.State:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, parameters)

    direction = {"adamw": optax.scale_by_adam(eps=hparams.adam_epsilon), "sgd": optax.trace(_SGD_MOMENTUM)}[name]
    return optax.chain(
        direction,
        optax.add_decayed_weights(hparams.weight_decay, are_kernels),
        optax.scale_by_learning_rate(partial(learning_rate, hparams)),  # pyright: ignore[reportArgumentType]
    )


def initial_state(network: Network, hparams: Hyperparameters, optimizer_name: str = "adamw") -> TrainState:
    """The state before the first step."""
    return _initial_state(variables_of(network), hparams, optimizer_name, hparams.ema_decay > 0)


# Each array made by itself would be a program of its own.
@partial(jax.jit, static_argnames=("optimizer_name", "is_averaged"))
def _initial_state(
    variables: Variables, hparams: Hyperparameters, optimizer_name: str, is_averaged: bool
) -> TrainState:
    # A step reuses the state's memory, so variables, average and network must not share any.
    copied, average = (jax.tree.map(jnp.copy, variables) for _ in range(2))
    of_optimizer = optimizer(hparams, optimizer_name).init(copied.parameters)  # pyright: ignore[reportArgumentType]
    return TrainState(jnp.int32(0), copied, of_optimizer, average if is_averaged else None)


def step_function(network: Network, optimizer_name: str = "adamw") -> StepFunction:
    """The function that takes one step, to be traced.

    It returns the new state and the batch's mean loss and accuracy. A drawing with the label -1 is not a grade: its
    target is the network's output for that, if it has one; else that all grades are equally likely ("outlier exposure",
    Hendrycks, Mazeika and Dietterich, 2019). The accuracy leaves it out.

    Args:
        network: gives the structure; its own variables are not used. It is left in training mode.
        optimizer_name: as in `optimizer`.
    """
    network.train()
    n_grades = network.n_grades
    graph, _, _ = nnx.split(network, nnx.Param, ...)

    def loss_of(
        parameters: nnx.State, statistics: nnx.State, batch: Batch, hparams: Hyperparameters, key: Array
    ) -> tuple[Array, tuple[nnx.State, LossAndAccuracy]]:
        model = nnx.merge(graph, parameters, statistics, copy=True)
        logits = model(jnp.asarray(batch.ink), nnx.Rngs(dropout=key), hparams.dropout)
        is_grade, extra = batch.labels >= 0, logits.shape[-1] - n_grades
        targets = optax.smooth_labels(jax.nn.one_hot(batch.labels, n_grades), hparams.label_smoothing)
        of_others = jnp.zeros(n_grades) if extra else jnp.full(n_grades, 1 / n_grades)
        targets = jnp.where(is_grade[:, None], targets, of_others)
        targets = jnp.concatenate([targets, jnp.repeat(~is_grade[:, None], extra, axis=1)], axis=1)
        loss = optax.softmax_cross_entropy(logits, targets).mean()
        accuracy = (logits[:, :n_grades].argmax(axis=-1) == batch.labels).sum() / jnp.maximum(is_grade.sum(), 1)
        return loss, (nnx.state(model, nnx.Not(nnx.Param)), jnp.stack([loss, accuracy]))

    def step(hparams: Hyperparameters, state: TrainState, batch: Batch) -> tuple[TrainState, LossAndAccuracy]:
        parameters, statistics = state.variables
        key = jax.random.fold_in(jax.random.key(hparams.seed), state.step)
        gradients, (statistics, metrics) = jax.grad(loss_of, has_aux=True)(parameters, statistics, batch, hparams, key)
        updates, optimizer_state = optimizer(hparams, optimizer_name).update(gradients, state.optimizer, parameters)
        parameters: nnx.State = optax.apply_updates(parameters, updates)  # pyright: ignore[reportAssignmentType]
        variables = Variables(parameters, statistics)
        average = state.average
        if average is not None:
            # At first the average follows fast; otherwise it would hold on to the initial values.
            decay = jnp.minimum(hparams.ema_decay, (1 + state.step) / (10 + state.step))
            average = optax.incremental_update(variables, average, 1 - decay)  # pyright: ignore
        return TrainState(state.step + 1, variables, optimizer_state, average), metrics  # pyright: ignore[reportArgumentType]

    return step


def reestimation(network: Network) -> Callable[[TrainState, Batch, Int32[Array, ""] | int], TrainState]:
    """The function that replaces batch norm's running statistics in the variables that are evaluated.

    The new ones are the averages, over the first `count` batches, of the statistics that each batch has under the
    parameters as they are: Y. Wu and J. Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3.

    Args:
        network: as in `step_function`; it is not changed.
    """
    network = nnx.clone(network)
    network.train()
    for layer in network.layers:
        if isinstance(layer, nnx.BatchNorm):
            layer.momentum = 0.0  # after a batch, the running statistics are that batch's
    graph, _, _ = nnx.split(network, nnx.Param, ...)
    no_dropout = (0.0,) * len(network.dropout_rates())

    def reestimate(state: TrainState, batches: Batch, count: Int32[Array, ""] | int) -> TrainState:
        evaluated = state.evaluated()

        def add(total: nnx.State, numbered: tuple[Array, Array]) -> tuple[nnx.State, None]:
            index, ink = numbered
            model = nnx.merge(graph, *evaluated, copy=True)
            model(ink, nnx.Rngs(dropout=0), no_dropout)
            of_batch = nnx.state(model, nnx.Not(nnx.Param))
            return jax.tree.map(lambda sum, one: sum + jnp.where(index < count, one, 0), total, of_batch), None

        zeros = jax.tree.map(jnp.zeros_like, evaluated.statistics)
        total, _ = jax.lax.scan(add, zeros, (jnp.arange(len(batches.ink)), jnp.asarray(batches.ink)))
        statistics = jax.tree.map(
            lambda sum, old: jnp.where(count > 0, sum / jnp.maximum(count, 1), old), total, evaluated.statistics
        )
        variables = evaluated._replace(statistics=statistics)
        return state._replace(variables=variables) if state.average is None else state._replace(average=variables)

    return reestimate


def steps_function(
    network: Network,
    ink: UInt8[Array, "n size size"] | None = None,
    *,
    optimizer_name: str = "adamw",
    reestimate_statistics: bool = False,
) -> StepsFunction:
    """The jitted function that takes as many steps as it is given batches.

    It returns the new state, and for each step the batch's mean loss and accuracy. It reuses the old state's memory.

    Batches that lie in NumPy arrays run one program, however many they are, so that a training on a few drawings more
    finds it compiled. Batches on devices are scanned, and each number of steps has a program of its own.

    Args:
        network: as in `step_function`.
        ink: of all drawings, on the device. With it the function takes a `BatchPlan`, and distorts the drawings there;
            without it, a `Batch`.
        optimizer_name: as in `optimizer`.
        reestimate_statistics: whether to re-estimate batch norm's statistics after the steps, from their batches.
    """
    step = step_function(network, optimizer_name)
    reestimate = reestimation(network)
    jit = partial(jax.jit, donate_argnums=1, compiler_options=ops.compiler_options())

    @jit
    def scan(
        hparams: Hyperparameters, state: TrainState, ink: Array | None, batches: Batch | BatchPlan
    ) -> tuple[TrainState, Float[Array, "steps 2"]]:
        def distorted(batch: Batch | BatchPlan) -> Batch:
            if isinstance(batch, Batch):
                return batch
            assert ink is not None
            return Batch(augment_device.distort(ink[batch.rows], batch.distortions), batch.labels)

        state, metrics = jax.lax.scan(lambda state, batch: step(hparams, state, distorted(batch)), state, batches)
        if reestimate_statistics:
            state = reestimate(state, jax.lax.map(distorted, batches), len(batches.labels))
        return state, metrics

    @jit
    def loop(
        hparams: Hyperparameters, state: TrainState, batches: Batch, count: Int32[Array, ""] | int
    ) -> tuple[TrainState, Float[Array, "steps 2"]]:
        def one(
            index: Int32[Array, ""], so_far: tuple[TrainState, Float[Array, "steps 2"]]
        ) -> tuple[TrainState, Float[Array, "steps 2"]]:
            state, metrics = so_far
            state, of_batch = step(hparams, state, jax.tree.map(lambda each: each[index], batches))
            return state, metrics.at[index].set(of_batch)

        return jax.lax.fori_loop(0, count, one, (state, jnp.zeros((len(batches.labels), 2))))

    def steps(
        hparams: Hyperparameters, state: TrainState, batches: Batch | BatchPlan
    ) -> tuple[TrainState, Float[Array | np.ndarray, "steps 2"]]:
        if reestimate_statistics or not isinstance(batches, Batch) or not isinstance(batches.ink, np.ndarray):
            return scan(hparams, state, ink, batches)
        metrics = []
        for part, count in padded(batches):
            state, of_part = loop(hparams, state, part, count)
            metrics.append((of_part, count))
        return state, np.concatenate([np.asarray(of_part)[:count] for of_part, count in metrics])

    return steps
