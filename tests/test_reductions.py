"""JAX's sums of products, at the shapes of the networks, compared with numpy's in double precision.

On CPUs jaxlib 0.9.1 to 0.10.2 silently computes wrong last rows of a product with short rows (jax-ml/jax#39103), and
versions before 0.8.2 a wrong constant in a vmapped function (jax-ml/jax#33479). setup.cfg excludes these; if a test
here fails, exclude the installed version too.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

MEMBERS = 3


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def assert_close(actual: object, expected: object) -> None:
    for value, reference in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-3, atol=1e-4 * np.abs(reference).max())


@pytest.mark.parametrize("rows", [32_769, 40_000, 86_528])  # the last is 128 drawings of 26 x 26 pixels
def test_a_vmapped_product_and_its_sum(rows):
    x, kernel = normal(rows, 3), normal(3, 3)

    exact = x.astype(np.float64) @ kernel.T
    sums = jax.jit(jax.vmap(lambda row: jnp.sum(kernel @ row)))(x)
    squares = jax.jit(jax.vmap(lambda row: jnp.sum((kernel @ row) ** 2)))(x)
    assert_close((sums, squares), (exact.sum(-1), (exact**2).sum(-1)))


def test_a_vmapped_function_of_a_constant():
    constant, places = normal(10, 8), np.array([1, 3, 5, 7])

    def placed(column):
        padded = jnp.zeros(10).at[:10].set(column)
        return jnp.zeros(10).at[places].set(padded[places] + 0.5 * jnp.zeros(10)[places])

    expected = np.zeros((10, 8))
    expected[places] = constant[places]
    assert_close(jax.jit(lambda: jax.vmap(placed, in_axes=1, out_axes=1)(constant))(), expected)


def test_vmapped_dense_layers_and_their_gradients():
    """The MLP's loss and gradients for several members under `jax.vmap`."""
    ink, labels = normal(MEMBERS, 32, 784), np.arange(MEMBERS * 32).reshape(MEMBERS, 32) % 15
    weights = [normal(MEMBERS, a, b) / np.float32(a**0.5) for a, b in ((784, 256), (256, 128), (128, 15))]
    biases = [normal(MEMBERS, width) for width in (256, 128, 15)]

    def loss(parameters, x, labels):
        weights, biases = parameters
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = jax.nn.relu(x @ weight + bias)
        likelihoods = jax.nn.log_softmax(x @ weights[-1] + biases[-1])
        return -jnp.take_along_axis(likelihoods, labels[:, None], axis=-1).mean()

    def by_numpy(weights, biases, x, labels):
        inputs = [x.astype(np.float64)]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            inputs.append(np.maximum(inputs[-1] @ weight + bias, 0))
        logits = inputs[-1] @ weights[-1] + biases[-1]
        likelihoods = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        upstream = (np.exp(likelihoods) - np.eye(15)[labels]) / len(labels)
        weight_gradients, bias_gradients = [], []
        for weight, x in zip(weights[::-1], inputs[::-1], strict=True):
            weight_gradients.insert(0, x.T @ upstream)
            bias_gradients.insert(0, upstream.sum(0))
            upstream = upstream @ weight.T * (x > 0)
        return -likelihoods[np.arange(len(labels)), labels].mean(), (weight_gradients, bias_gradients)

    results = jax.jit(jax.vmap(jax.value_and_grad(loss)))((weights, biases), ink, labels)
    for member in range(MEMBERS):
        own = [weight[member] for weight in weights], [bias[member] for bias in biases]
        assert_close([leaf[member] for leaf in jax.tree.leaves(results)], by_numpy(*own, ink[member], labels[member]))


@pytest.mark.parametrize(
    ("rows", "columns", "channels"),
    [(32 * 26 * 26, 9, 32), (32 * 13 * 13, 17, 32), (32 * 11 * 11, 288, 64), (32 * 11 * 6, 96, 64)],
)
def test_convolutions_as_products_and_batch_norms_statistics(rows, columns, channels):
    windows, kernel = normal(rows, columns), normal(columns, channels)

    def statistics(windows, kernel):
        relu = jax.nn.relu(windows @ kernel)
        return relu.mean(0), (relu * relu).mean(0), relu.max(-1)

    def gradients(windows, kernel):
        return jax.grad(lambda kernel, shift: (jax.nn.relu(windows @ kernel + shift) ** 2).mean(), argnums=(0, 1))(
            kernel, jnp.zeros(channels)
        )

    exact = np.maximum(windows.astype(np.float64) @ kernel, 0)
    expected = exact.mean(0), (exact**2).mean(0), exact.max(-1)
    upstream = 2 * exact / exact.size
    assert_close(jax.jit(statistics)(windows, kernel), expected)
    assert_close(jax.jit(gradients)(windows, kernel), (windows.T @ upstream, upstream.sum(0)))
    together = jax.jit(jax.vmap(statistics))(np.stack([windows, -windows]), np.stack([kernel, -kernel]))
    assert_close([leaf[1] for leaf in together], expected)
