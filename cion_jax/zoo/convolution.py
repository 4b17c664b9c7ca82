"""Dense convolution, a part of `layers.py` that is long enough for a file: the forms that XLA on CPU needs.

XLA's CPU backend is slow at three kinds of convolution, and each has its own form here:

- The kernel gradient on large maps or with strides. XLA transposes both arrays and convolves with a window as large
  as the map. Here it is a loop over blocks of rows, one matrix product each, that stay in the cache:
  `convolve_by_blocks`.
- Kernels that do not overlap (stride = size), as in patch embeddings. They are one matrix product:
  `convolve_apart`.
- Maps of a few positions, where XLA falls back to scalar loops: `convolve_as_product`.

`convolve_dense` chooses. GPUs and TPUs always get XLA's own convolution. `python -m benchmarks.convolution` prints
the times behind the choice.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

# Output positions of an image below which XLA on CPU leaves its fast convolution for scalar loops: 48x4x2x512 to 512
# channels took 2,800 ms forward and 7,300 with gradients; as one matrix product 14 and 62.
SMALL_MAP = 32
# Output positions of a batch from which the kernel gradient at stride 1 is computed by blocks.
LARGE_BATCH_OF_MAPS = 2**16
# Output positions in a block. Its patches, 512 x 576 float32 for 3x3x64, take 1.2 MB: about the size of a core's cache.
# Blocks of 2,048 positions cost up to a third more.
BLOCK_POSITIONS = 512


def convolve_dense(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """Convolution of x [b, h, w, in] with kernel [k, k, in, out], symmetric zero padding, by the fastest form.

    Returns:
      [b, h', w', out] in x's dtype, h' = (h + 2 padding - k) // stride + 1.
    """
    if jax.default_backend() != "cpu":
        return convolve_by_xla(x, kernel, stride, padding)
    if stride == kernel.shape[0] and padding == 0:
        return convolve_apart(x, kernel)
    height, width = output_size(x.shape, kernel.shape[0], stride, padding)
    if min(height, width) <= 0:  # the map is smaller than the kernel: nothing to compute
        return convolve_by_xla(x, kernel, stride, padding)
    if height * width < SMALL_MAP:
        return convolve_as_product(x, kernel, stride, padding)
    if has_slow_kernel_gradient(x.shape, kernel.shape[0], stride, padding):
        return convolve_by_blocks(x, kernel, stride, padding)
    return convolve_by_xla(x, kernel, stride, padding)


def has_slow_kernel_gradient(shape: tuple[int, ...], size: int, stride: int, padding: int) -> bool:
    """Whether the kernel gradient by blocks is faster on CPU than XLA's own, for x of this shape.

    XLA's is slow where the kernel is strided (up to 3 times) and where the batch has many output positions: its
    transposed copies leave the cache (1.2 times at 65,536 positions, 2.2 at 131,072, one core), and at 64 or fewer
    output channels one thread does all the work. With fewer positions and stride 1 neither is faster by more than a
    third, and XLA's own stays.

    On several devices the batch may be spread over them. A loop over images would gather it, so XLA's own gradient
    stays there.
    """
    height, width = output_size(shape, size, stride, padding)
    slow = stride > 1 or shape[0] * height * width >= LARGE_BATCH_OF_MAPS
    return slow and jax.device_count() == 1


def output_size(shape: tuple[int, ...], size: int, stride: int, padding: int) -> tuple[int, int]:
    """Height and width of a convolution's output, for x of this shape."""
    height, width = ((n + 2 * padding - size) // stride + 1 for n in shape[1:3])
    return height, width


def convolve_by_xla(x: jax.Array, kernel: jax.Array, stride: int, padding: int, groups: int = 1) -> jax.Array:
    """The convolution as XLA has it; kernel [k, k, in / groups, out]."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def convolve_apart(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution whose stride is the kernel's size, without padding: one matrix product, no patch copied twice.

    16x128x64, 64 -> 192 channels, 8x8, one core: forward 72 ms against 147 of XLA's convolution, both gradients 129
    against 235; on 32x64x32 24 against 41 and 50 against 580.
    """
    batch, size, channels, outputs = x.shape[0], *kernel.shape[1:]
    height, width = output_size(x.shape, size, size, 0)
    x = x[:, : height * size, : width * size]
    # A row of the kernel meets size * channels values that lie together in memory.
    x = x.reshape(batch * height, size, width, size * channels)
    kernel = kernel.reshape(size, size * channels, outputs)
    y = lax.dot_general(x, kernel, (((1, 3), (0, 1)), ((), ())))
    return y.reshape(batch, height, width, outputs)


def convolve_as_product(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """The patches under the kernel side by side, times the kernel as a matrix."""
    size, outputs = kernel.shape[0], kernel.shape[-1]
    patches = _patches(_pad(x, padding), size, stride, *output_size(x.shape, size, stride, padding))
    return patches @ kernel.reshape(-1, outputs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_by_blocks(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """XLA's convolution, with the kernel gradient of `kernel_gradient`."""
    return convolve_by_xla(x, kernel, stride, padding)


def _forward(x, kernel, stride, padding):
    return convolve_by_xla(x, kernel, stride, padding), (x, kernel)


def _backward(stride, padding, residuals, upstream):
    x, kernel = residuals
    input_gradient = jax.linear_transpose(lambda x: convolve_by_xla(x, kernel, stride, padding), x)
    sums = kernel_gradient(x, upstream, kernel.shape[0], stride, padding)
    return *input_gradient(upstream), sums.astype(kernel.dtype)


convolve_by_blocks.defvjp(_forward, _backward)


def kernel_gradient(x: jax.Array, upstream: jax.Array, size: int, stride: int, padding: int) -> jax.Array:
    """Gradient with respect to a kernel [size, size, in, out], as sums of matrix products; float32.

    Args:
      x: the convolution's input, [b, h, w, in].
      upstream: gradient of its output, [b, h', w', out].
      size, stride, padding: of the convolution.

    Returns:
      float32 [size, size, in, out].
    """
    batch, height, width, outputs = upstream.shape
    channels = x.shape[-1]
    x = _pad(x, padding)
    images, rows = _block(batch, height, width)
    blocks = height // rows

    def add_block(index, sums):
        image, row = index // blocks * images, index % blocks * rows
        above = lax.dynamic_slice(upstream, (image, row, 0, 0), (images, rows, width, outputs))
        read = stride * (rows - 1) + size
        below = lax.dynamic_slice(x, (image, row * stride, 0, 0), (images, read, x.shape[2], channels))
        return sums + _product(below, above, size, stride)

    shape = jax.eval_shape(functools.partial(_product, size=size, stride=stride), x, upstream)
    sums = lax.fori_loop(0, batch // images * blocks, add_block, jnp.zeros(shape.shape, shape.dtype))
    done = blocks * rows
    if done < height:  # the rows that do not fill a block, of all images at once
        sums += _product(x[:, done * stride :], upstream[:, done:], size, stride)
    if _narrow_on_the_left(size * size * channels, outputs):
        sums = sums.T
    return sums.reshape(size, size, channels, outputs)


def _block(batch: int, height: int, width: int) -> tuple[int, int]:
    """Images and rows of a block: rows of one image, or several whole images where these are small."""
    rows = min(height, max(1, BLOCK_POSITIONS // width))
    images = max(1, min(batch, BLOCK_POSITIONS // (height * width)))
    while batch % images:
        images -= 1
    return images, rows


def _product(x: jax.Array, upstream: jax.Array, size: int, stride: int) -> jax.Array:
    """Patches of x (padded already) times upstream, summed over images and positions; float32.

    The wider of the two stands on the right: [8192, 576] and [8192, 64] multiply at 95 GFLOP/s that way round and at
    62 the other (one core). So the result is [out, k k in] where patches are wider, else [k k in, out].
    """
    outputs = upstream.shape[-1]
    patches = _patches(x, size, stride, *upstream.shape[1:3])
    left = patches.reshape(-1, patches.shape[-1]).astype(jnp.float32)
    right = upstream.reshape(-1, outputs).astype(jnp.float32)
    if _narrow_on_the_left(left.shape[-1], outputs):
        left, right = right, left
    return lax.dot_general(left, right, (((0,), (0,)), ((), ())))


def _narrow_on_the_left(patch: int, outputs: int) -> bool:
    """Whether upstream, and not the patches, is the left factor."""
    return patch > outputs


def _patches(x: jax.Array, size: int, stride: int, height: int, width: int) -> jax.Array:
    """What the kernel reads at each output position: x padded already -> [b, height, width, size * size * in]."""
    rows, columns = stride * (height - 1) + 1, stride * (width - 1) + 1
    taps = [x[:, i : i + rows : stride, j : j + columns : stride] for i in range(size) for j in range(size)]
    return jnp.concatenate(taps, axis=-1)


def _pad(x: jax.Array, padding: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
