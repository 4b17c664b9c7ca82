"""How much arithmetic a pre-training step takes, counted from the modules themselves."""

import math
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cion_jax.zoo.forms import plain_convolutions


def forward(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-adds of matrix products and convolutions of one forward pass on an input of `shape`."""

    def run(x: jax.Array) -> jax.Array:
        return module.init_with_output(jax.random.key(0), x)[0]

    # Depthwise convolutions as such: the shifted sums that stand in for them on a CPU would not be counted.
    with plain_convolutions():
        jaxpr = jax.make_jaxpr(run)(jax.ShapeDtypeStruct(shape, jnp.float32))
    return sum(map(_of_equation, _equations(jaxpr.jaxpr)))


def step_per_image(
    backbone: nn.Module,
    head: nn.Module,
    width: int,
    global_size: tuple[int, int],
    local_size: tuple[int, int],
    local_count: int,
) -> float:
    """Floating-point operations of a train step per image: student forward and backward, teacher forward.

    A backward pass counts as two forward passes and a multiply-add as two operations, as is usual. With eight locals
    of a quarter's area the backbone's part is 14 forward passes. What fusing, recomputing or padding adds is not in it.
    """
    on_global = forward(backbone, (1, *global_size, 3))
    on_local = forward(backbone, (1, *local_size, 3)) if local_count else 0
    on_head = forward(head, (1, width))
    student = 2 * on_global + local_count * on_local + (2 + local_count) * on_head
    teacher = 2 * (on_global + on_head)
    return 2.0 * (3 * student + teacher)


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _equations(inner)


def _of_equation(equation: Any) -> int:
    if equation.primitive.name == "dot_general":
        contracted = equation.params["dimension_numbers"][0][0]
        depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    elif equation.primitive.name == "conv_general_dilated":
        kernel, numbers = equation.invars[1].aval.shape, equation.params["dimension_numbers"]
        depth = math.prod(kernel) // kernel[numbers.rhs_spec[0]]
    else:
        return 0
    return math.prod(equation.outvars[0].aval.shape) * depth
