"""The two networks, and the operations written for XLA on CPUs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from rich.console import Console

from gradejax import forward, models, ops, report
from gradejax.errors import UserError

KERAS_COUNTS = {"mlp": 235_791, "cnn": 226_063}


@pytest.mark.parametrize(("name", "count"), KERAS_COUNTS.items())
def test_parameters_are_counted_as_in_keras(name, count):
    assert models.parameters(models.build(name, size=28, seed=0)) == count


@pytest.mark.parametrize(("name", "count"), KERAS_COUNTS.items())
def test_the_layer_table_adds_up(name, count):
    console = Console(width=80)
    with console.capture() as capture:
        console.print(report.layer_table(models.build(name, size=28, seed=0), 28))
    lines = [line.split("│") for line in capture.get().splitlines() if "│" in line]
    numbers = [int(cells[3].replace(",", "")) for cells in lines if cells[3].strip()]
    assert numbers[-1] == count == sum(numbers[:-1])


def logits(network: models.Network, ink: np.ndarray) -> np.ndarray:
    return np.asarray(forward.logits_function(network)(forward.variables_of(network), ink))


@pytest.mark.parametrize("name", KERAS_COUNTS)
def test_predicting_is_deterministic_and_training_is_not(name):
    network = models.build(name, size=28, seed=0)
    ink = np.random.default_rng(0).integers(0, 256, (4, 28, 28), np.uint8)
    first, again = (logits(network, ink) for _ in range(2))
    assert first.shape == (4, 15)
    np.testing.assert_array_equal(first, again)
    network.train()
    graph, variables = nnx.split(network)

    @partial(jax.jit, compiler_options=ops.compiler_options())
    def in_training(variables, ink, seed):
        return nnx.merge(graph, variables, copy=True)(ink, nnx.Rngs(dropout=jax.random.key(seed)))

    one, other = (in_training(variables, ink, seed) for seed in (1, 2))
    assert not np.allclose(one, other)


def test_the_seed_determines_the_network():
    def kernel(seed: int) -> np.ndarray:
        return np.asarray(models.build("mlp", size=28, seed=seed).layers[1].kernel[...])

    np.testing.assert_array_equal(kernel(3), kernel(3))
    assert not np.array_equal(kernel(3), kernel(4))


@pytest.mark.parametrize(
    ("name", "size", "options", "reason"),
    [
        ("rnn", 28, {}, "no model is called 'rnn'"),
        ("cnn", 28, {"depth": 3}, "depth"),
        ("cnn", 8, {"channels": (8, 8, 8)}, "too small"),
        ("cnn", 28, {"pools": (1, 3)}, "model.pools names convolution 3: model.channels has 2"),
        ("cnn", 28, {"pools": 1}, "model.pools is 1: model 'cnn' takes a list"),
        ("mlp", 28, {"hidden": (10,)}, "1 layers and model.dropout 2 rates"),
        ("cnn", 28, {"channels": (2,) * 3000}, "3,000 layers: at most 64"),
        ("mlp", 28, {"hidden": (2,) * 65, "dropout": (0.1,) * 65}, "65 layers"),
        ("mlp", 28, {"hidden": (10**6, 10**6), "dropout": (0, 0)}, "more than 50,000,000 parameters"),
        ("cnn", 28, {"hidden": 10**9}, "more than 50,000,000 parameters"),
        ("cnn", 512, {"channels": (1000,)}, "convolutions are too large"),
        ("mlp", 0, {}, "data.size is 0"),
        (["mlp"], 28, {}, "no model is called"),
        ("mlp", 28, {"hidden": 64, "dropout": 0.1}, "model.hidden is 64: model 'mlp' takes a list"),
        ("mlp", 28, {"hidden": "64"}, "model.hidden is '64': model 'mlp' takes a list"),
        ("mlp", 28, {"dropout": 0.1}, "model.dropout is 0.1: model 'mlp' takes a list"),
        ("cnn", 28, {"channels": None}, "model.channels is None: model 'cnn' takes a list"),
        ("cnn", 28, {"hidden": []}, r"model.hidden is \[\]: it must be a whole number"),
        ("cnn", 28, {"hidden": [128]}, r"model.hidden is \[128\]: it must be a whole number"),
    ],
)
def test_a_network_that_cannot_be_built_is_an_error(name, size, options, reason):
    with pytest.raises(UserError, match=reason) as error:
        models.build(name, size=size, seed=0, **options)
    assert "\n" not in str(error.value)


# Some versions of JAX silently build layers of 0 or 2.0 units.
INVALID_COUNTS = (0, -1, 2.0, 2.5, "2", True, None, float("nan"))
INVALID_RATES = (-0.1, 1, 1.5, "0.5", True, None, float("nan"), float("inf"))
INVALID_POSITIVE_NUMBERS = (0, -1e-3, "1e-3", True, None, [1.0], float("nan"), float("inf"), 1e-300, 1e300)
INVALID_VALUES = [
    *(("mlp", "hidden", value, (10, value)) for value in INVALID_COUNTS),
    *(("cnn", "channels", value, [value, 8]) for value in INVALID_COUNTS),
    *(("cnn", "pools", value, [value]) for value in INVALID_COUNTS),
    *(("cnn", "hidden", value, value) for value in INVALID_COUNTS),
    *(
        (name, option, value, value)
        for name in ("mlp", "cnn")
        for option in ("no_grade", "test_time_augmentation")
        for value in (0, 1, "False", None)
    ),
    *(("mlp", "dropout", value, [0.1, value]) for value in INVALID_RATES),
    *(("cnn", "dropout", value, value) for value in INVALID_RATES),
    *(("cnn", "batch_norm", value, value) for value in (0, 1, "False", None)),
    *(("cnn", "batch_norm_epsilon", value, value) for value in INVALID_POSITIVE_NUMBERS),
    *((name, "ink_divisor", value, value) for name in ("mlp", "cnn") for value in INVALID_POSITIVE_NUMBERS),
]


@pytest.mark.parametrize(("name", "option", "invalid", "value"), INVALID_VALUES)
def test_an_invalid_option_is_named(name, option, invalid, value):
    with pytest.raises(UserError) as error:
        models.build(name, size=28, seed=0, **{option: value})
    assert str(error.value).startswith(f"model.{option} is {invalid!r}: it must be ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mlp", {"hidden": [], "dropout": []}),
        ("mlp", {"hidden": [8], "dropout": [0], "ink_divisor": 1}),
        ("cnn", {"channels": [], "hidden": 1, "dropout": 0}),
        ("cnn", {"channels": (4,), "batch_norm_epsilon": 1, "batch_norm": False}),
        ("cnn", {"channels": (4, 4, 4), "pools": [3]}),
        ("cnn", {"channels": (4, 4), "pools": (1, 2)}),
    ],
)
def test_unusual_but_valid_options_work(name, options):
    network = models.build(name, size=12, seed=0, **options)
    assert logits(network, np.zeros((2, 12, 12), np.uint8)).shape == (2, 15)


def test_only_the_named_convolutions_are_pooled():
    network = models.build("cnn", size=28, seed=0, channels=(4, 6, 8), pools=(1, 3))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(report.layer_table(network, 28))
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in capture.get().splitlines() if "│" in line]
    pools = [shape for name, shape in rows if name == "max_pool"]
    convolutions = [shape for name, shape in rows if name == "Conv"]
    assert pools == ["13 x 13 x 4", "4 x 4 x 8"]
    assert convolutions == ["26 x 26 x 4", "11 x 11 x 6", "9 x 9 x 8"]


@pytest.mark.parametrize("name", KERAS_COUNTS)
def test_one_more_output_is_for_no_grade(name):
    network = models.build(name, size=12, seed=0, no_grade=True)
    assert logits(network, np.zeros((2, 12, 12), np.uint8)).shape == (2, 16)


def both_ways(function, reference, *arguments):
    """Values and gradients of a function and of its reference."""

    def summed(f):
        return jax.jit(jax.value_and_grad(lambda *a: (jnp.sin(f(*a)) * jnp.arange(1.0, 4.0)).sum(), argnums=(0,)))

    return summed(function)(*arguments), summed(reference)(*arguments)


def test_conv_as_product_is_a_convolution():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 8, 5)).astype(np.float32)
    kernel = rng.normal(size=(3, 2, 5, 3)).astype(np.float32)

    def native(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    with jax.default_matmul_precision("highest"):  # a GPU rounds operands to ten bits
        (value, gradient), (expected, expected_gradient) = both_ways(ops.conv_as_product, native, x, kernel)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    np.testing.assert_allclose(gradient[0], expected_gradient[0], atol=1e-3)


@pytest.mark.parametrize("side", [8, 9])
def test_max_pool_matches_flax(side):
    x = np.random.default_rng(0).normal(size=(2, side, side + 1, 3)).astype(np.float32)

    def native(x):
        return nnx.max_pool(x, (2, 2), (2, 2))

    (value, gradient), (expected, expected_gradient) = both_ways(ops.max_pool, native, x)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient[0], expected_gradient[0], atol=1e-6)


def test_convolutions_with_strides_or_padding_are_xlas():
    layer = nnx.Conv(1, 2, (3, 3), strides=2, padding="SAME", conv_general_dilated=ops.conv, rngs=nnx.Rngs(0))
    assert layer(jnp.ones((1, 9, 9, 1))).shape == (1, 5, 5, 2)


def layer_by_layer(network: models.Network, ink: jax.Array) -> jax.Array:
    x = ink.astype(np.float32) / 255
    for layer in network.layers:
        x = layer(x, nnx.Rngs(dropout=0)) if isinstance(layer, models.Dropout) else layer(x)
    return x


@pytest.mark.parametrize("size", [28, 31])  # the first convolution's output has even sides or odd, the second's others
def test_a_block_trains_as_its_layers_do(size):
    rng = np.random.default_rng(size)
    network = models.build("cnn", size=size, seed=0, channels=(3, 4), hidden=8, dropout=0.0)
    for layer in network.layers:
        if isinstance(layer, nnx.Conv | nnx.BatchNorm):
            layer.bias[...] = rng.normal(0, 0.1, layer.bias.shape).astype(np.float32)
        if isinstance(layer, nnx.BatchNorm):  # a negative one reverses the order of the pixels
            layer.scale[...] = rng.normal(size=layer.scale.shape).astype(np.float32)
    ink = jnp.asarray(rng.integers(0, 256, (6, size, size), np.uint8))
    weight = rng.normal(size=(6, 15)).astype(np.float32)

    def trained(apply) -> tuple:
        graph, parameters, statistics = nnx.split(network, nnx.Param, ...)

        def loss(parameters, statistics):
            model = nnx.merge(graph, parameters, statistics, copy=True)
            logits = apply(model, ink)
            return (logits * weight).sum(), (logits, nnx.state(model, nnx.BatchStat))

        # As training compiles it.
        gradients = jax.jit(jax.grad(loss, has_aux=True), compiler_options=ops.compiler_options())
        return gradients(parameters, statistics)

    fused = trained(lambda model, ink: model(ink, nnx.Rngs(dropout=0)))
    for value, expected in zip(*map(jax.tree.leaves, (fused, trained(layer_by_layer))), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-3 * float(np.abs(expected).max()))
