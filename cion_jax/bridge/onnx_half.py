"""float16 in an ONNX graph: weights and products, and what lies between products; not statistics and softmax."""

from typing import Any

import numpy as np

# Sums of products, whose inputs may be rounded.
PRODUCTS = frozenset(("Conv", "MatMul", "Gemm", "Einsum"))
# What can overflow in float16 or loses too much: a sum over many numbers, a square, a root, a quotient.
# Conversions stay what they are.
FLOAT32 = frozenset(
    (
        *("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL2", "GlobalAveragePool", "Softmax"),
        *("Pow", "Sqrt", "Div", "Reciprocal", "Exp", "LayerNormalization", "InstanceNormalization", "Cast"),
    )
)


def to_half(model: Any) -> None:
    """Changes the model in place; its inputs and outputs keep their types.

    A product is computed in float16. Other operators follow their inputs: float16 after a product, float32 after an
    operator of FLOAT32 or an input of the graph. Casts stand where the two meet.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    floats = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    weights = {
        t.name: numpy_helper.to_array(t) for t in graph.initializer if t.data_type == TensorProto.FLOAT
    }
    names = {np.dtype(np.float16): TensorProto.FLOAT16, np.dtype(np.float32): TensorProto.FLOAT}
    made_as = {entry.name: np.dtype(np.float32) for entry in graph.input if entry.name in floats}
    outputs = {entry.name for entry in graph.output}
    nodes, cast = [], {}

    def as_type(name: str, dtype: np.dtype) -> str:
        """The value `name` as `dtype`, by a cast or as a rounded weight where need be."""
        if name in weights:
            if dtype == np.float16 and (name, dtype) not in cast:
                rounded = numpy_helper.from_array(weights[name].astype(np.float16), f"{name}_half")
                graph.initializer.append(rounded)
                cast[name, dtype] = rounded.name
            return cast.get((name, dtype), name)
        if name not in made_as or made_as[name] == dtype:
            return name
        if (name, dtype) not in cast:
            cast[name, dtype] = f"{name}_as_{dtype}"
            nodes.append(helper.make_node("Cast", [name], [cast[name, dtype]], to=names[dtype]))
        return cast[name, dtype]

    for node in graph.node:
        before = [made_as[name] for name in node.input if name in made_as]
        dtype = np.dtype(np.float16 if _is_half(node, before) else np.float32)
        inputs = [as_type(name, dtype) for name in node.input]
        del node.input[:]
        node.input.extend(inputs)
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in outputs and dtype == np.float16:
                node.output[place] = f"{name}_half"
                nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
            elif name in floats:
                made_as[name] = dtype
    nodes = list(map(_copy, nodes))
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    _drop_unused_weights(graph)


def _is_half(node: Any, before: list[np.dtype]) -> bool:
    if node.op_type in PRODUCTS:
        return True
    square = node.op_type == "Mul" and node.input[0] == node.input[1]
    return node.op_type not in FLOAT32 and not square and bool(before) and np.float32 not in before


def _copy(node: Any) -> Any:
    """Nodes that belong to a graph vanish with its list."""
    twin = type(node)()
    twin.CopyFrom(node)
    return twin


def _drop_unused_weights(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input}
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name not in used:
            del graph.initializer[place]
