"""A recogniser as ONNX, which onnxruntime, onnxruntime-web and OpenCV's dnn read.

The graph takes `ink`, (n, 1, size, size) as float32, from 0 for bare ground to 255 for a solid stroke, for any n: the
form in which OpenCV passes pictures on. It returns `confidences`, (n, labels), the confidence in each label, and
`score`, (n,): how much a drawing looks like a grade.

Its metadata, all of them text, say what else a program needs: `labels`, as JSON, in the order of the confidences; the
ink's `size` and `resampling` (see `resampling.resample`); the `threshold`, below which a score means that the drawing
is not a grade; the `temperature`, which the graph has applied; and the recogniser's `name`. Blank paper and dots are no
grades either (`calibration.is_too_small`), which the graph leaves to the program.
"""

import json
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float32, Int64

from gradejax import __version__, models, ops, views
from gradejax.augment_device import affine_places
from gradejax.errors import MissingLibrary, UserError
from gradejax.forward import merged
from gradejax.recogniser import Chosen, Recogniser

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_OPSET, _FILE_FORMAT = 13, 7
"""The oldest that have the operators below as they are used here: old programs read them, too."""


def to_onnx(chosen: Chosen) -> bytes:
    """Exports a recogniser, its variables and its temperature included.

    Raises:
        MissingLibrary: when onnx is not installed.
        UserError: when a layer cannot be written.
    """
    try:
        from onnx import checker
    except ImportError:
        raise MissingLibrary("ONNX", "onnx") from None
    model = _model(chosen)
    checker.check_model(model, full_check=True)
    return model.SerializeToString()


class _Graph:
    """A graph in the making; each node takes what the one before it returned."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.last = "ink"

    def add(self, operator: str, *more: np.ndarray | np.float32, result: str = "", **attributes: Any) -> None:
        """Adds a node.

        Args:
            operator: its type, such as `Conv`.
            more: its inputs after the first, which are constants.
            result: the name of what it returns.
            attributes: the operator's.
        """
        from onnx import helper, numpy_helper

        inputs = [self.last]
        for array in more:
            inputs.append(f"constant{len(self.constants)}")
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), inputs[-1]))
        self.last = result or f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [self.last], **attributes))


def _model(chosen: Chosen) -> "ModelProto":
    from onnx import TensorProto, helper

    recogniser, graph = chosen.recogniser, _Graph()
    _add_network(graph, recogniser)
    _add_outputs(graph, recogniser)
    size, labels = recogniser.size, len(recogniser.labels)
    shapes = {"ink": ["n", 1, size, size], "confidences": ["n", labels], "score": ["n"]}
    ink, *results = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    model = helper.make_model(
        helper.make_graph(graph.nodes, "gradejax", [ink], results, graph.constants),
        producer_name="gradejax",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_FILE_FORMAT,
    )
    helper.set_model_props(model, _facts(chosen))
    return model


def _facts(chosen: Chosen) -> dict[str, str]:
    recogniser = chosen.recogniser
    facts = {
        "name": chosen.name,
        "labels": json.dumps(recogniser.labels),
        "size": str(recogniser.size),
        "resampling": recogniser.resampling,
        "temperature": str(recogniser.calibration.temperature),
        "threshold": str(recogniser.calibration.threshold),
    }
    # Their licence asks for this.
    return facts | ({"trained_on": recogniser.trained_on} if recogniser.trained_on else {})


def _add_network(graph: _Graph, recogniser: Recogniser) -> None:
    """Adds what leads from the ink to its logits."""
    network = merged(recogniser.network, recogniser.variables)
    if network.test_time_augmentation:
        _add_views(graph, recogniser.size)
    graph.add("Div", np.float32(network.ink_divisor))
    for layer in network.layers:
        match layer:
            case nnx.Conv():
                kernel = _numbers(layer.kernel).transpose(3, 2, 0, 1)
                bias = [] if layer.bias is None else [_numbers(layer.bias)]
                graph.add("Conv", kernel, *bias, kernel_shape=kernel.shape[2:])  # OpenCV 4 wants to be told
            case nnx.BatchNorm():
                numbers = map(_numbers, (layer.scale, layer.bias, layer.mean, layer.var))
                graph.add("BatchNormalization", *numbers, epsilon=layer.epsilon)
            case nnx.Linear():
                graph.add("Gemm", _numbers(layer.kernel), _numbers(layer.bias))
            case nnx.relu:
                graph.add("Relu")
            case ops.max_pool:
                graph.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
            case models.flatten:
                graph.add("Transpose", perm=[0, 2, 3, 1])  # JAX has the channels last
                graph.add("Flatten")
            case models.add_channel | models.Dropout():
                pass  # the ink has its channel; dropout is for training
            case _:
                raise UserError(f"a layer of type {type(layer).__name__} cannot be written as ONNX")
    if network.test_time_augmentation:
        graph.add("Reshape", np.array([-1, views.VIEWS, _outputs(recogniser)]))
        graph.add("ReduceMean", axes=[1], keepdims=0)


def _add_views(graph: _Graph, size: int) -> None:
    """Adds what makes the views of each drawing, as `views.views` does, except that they follow one another.

    Rarely a pixel that lies between two values is rounded to the other one: in one drawing of 300.
    """
    graph.add("Flatten")
    corners, shares = _corners(size)
    graph.add("Gather", corners, axis=1)
    graph.add("Mul", shares)
    graph.add("ReduceSum", np.array([1]), keepdims=0)
    graph.add("Round")
    graph.add("Reshape", np.array([-1, 1, size, size]))


def _corners(size: int) -> tuple[Int64[np.ndarray, "4 pixels"], Float32[np.ndarray, "4 pixels"]]:
    """For each pixel of all views, the four pixels of the drawing that it lies between, and the share of each in it."""
    last = size - 1
    places = np.asarray(affine_places(jnp.asarray(views.maps(size), jnp.float32), size)).clip(0, last)
    first = np.floor(places)
    corners, shares = [], []
    for step in np.ndindex(2, 2):
        of_each = np.array(step, np.float32)[:, None, None]
        row, column = np.minimum(first + of_each, last).astype(np.int64).swapaxes(0, 1)
        corners.append((row * size + column).ravel())
        shares.append(np.abs(1 - of_each - (places - first)).prod(axis=1).ravel())
    return np.stack(corners), np.stack(shares)


def _add_outputs(graph: _Graph, recogniser: Recogniser) -> None:
    """Adds what leads from the logits to the confidences and the score; see `calibration.Calibration`."""
    labels = len(recogniser.labels)
    graph.add("Div", np.float32(recogniser.calibration.temperature))
    if _outputs(recogniser) == labels:
        graph.add("Softmax", axis=1, result="confidences")
    else:
        logits, of_grades = graph.last, [np.array([0]), np.array([labels]), np.array([1])]
        graph.add("Slice", *of_grades)
        graph.add("Softmax", axis=1, result="confidences")
        graph.last = logits
        graph.add("Softmax", axis=1)
        graph.add("Slice", *of_grades)
    graph.add("ReduceMax", axes=[1], keepdims=0, result="score")


def _outputs(recogniser: Recogniser) -> int:
    last = recogniser.network.layers[-1]
    assert isinstance(last, nnx.Linear)
    return last.out_features


def _numbers(variable: nnx.Variable) -> np.ndarray:
    return np.asarray(variable[...])
