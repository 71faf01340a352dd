"""PNG bytes to ink and back.

*Ink* is how strongly the pen has marked a pixel: 0 is bare ground, 255 a solid stroke. A canvas saves it in the alpha
channel; a scan or a photo shows it as dark on light, or the reverse.
"""

import sys

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8, UInt16

from gradejax.errors import BadDrawing
from gradejax.png import alpha_of_canvas, check_unpacked_size, stripped_png

# BadDrawing reports what is wrong with a picture; OpenCV would also print it on standard error.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

# How ink is told from ground.
_SHEET = 0.9  # a colour that covers more of the picture is paper, not a stroke
_SHEET_AND_CORNERS = 0.95
_FILLED = 0.7  # paper fills more of its bounding box, even with round corners or slightly rotated; letters fill less
_CONTRAST = 12  # of 255: less is invisible
_FAINT = 128  # ink that is nowhere stronger is stretched


def decode_ink(png: bytes) -> UInt8[np.ndarray, "height width"]:
    """Decodes a PNG of any kind to ink, at the picture's own size.

    If the alpha channel has the shape of the strokes, as a canvas saves them, it is the ink. If a sheet of paper is
    visible, the ink is each pixel's distance in colour from the paper, dark on light or light on dark, with faint ink
    stretched, and uneven light, noise and a frame round the picture removed.

    Args:
        png: grey, RGB or palette, 1 to 16 bits, interlaced or not.

    Returns:
        0 for bare ground to 255 for a solid stroke.

    Raises:
        BadDrawing: `not a PNG`, `damaged PNG`, or an image too large.
    """
    png = stripped_png(png)
    if (grey := alpha_of_canvas(png)) and (alpha := _decoded(grey)) is not None:
        return _strokes_in(alpha)
    check_unpacked_size(png)
    picture = _decoded(png)
    if picture is None:
        raise BadDrawing("damaged PNG: its pixels cannot be read")
    picture = _to_uint8(picture)  # rebinding frees the deep picture
    return _ink_of(picture)


def _decoded(png: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def encode_png(ink: UInt8[np.ndarray, "height width"]) -> bytes:
    """Encodes ink as a canvas does: a PNG of black pixels with the ink in the alpha channel."""
    picture = np.zeros((*ink.shape, 4), np.uint8)
    picture[..., 3] = ink
    return cv2.imencode(".png", picture)[1].tobytes()


def _ink_of(picture: UInt8[np.ndarray, "height width *channels"]) -> UInt8[np.ndarray, "height width"]:
    if picture.ndim == 2 or picture.shape[2] == 3:
        return _ink_on_paper(picture)
    alpha, colours = cv2.extractChannel(picture, 3), cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR)
    if not colours.any():
        return _strokes_in(alpha)
    top = int(alpha.max())
    if alpha.min() == top:
        return _ink_on_paper(colours) if top else alpha

    seen = (alpha > top // 4).view(np.uint8)
    if seen.mean() < _SHEET_AND_CORNERS:  # a window's shadow does not belong to it
        seen = (alpha > top * 3 // 4).view(np.uint8)
    step = _step(alpha)
    shades = colours[::step, ::step][seen[::step, ::step] > 0].astype(np.int16)
    if not len(shades):
        return alpha
    paper = np.median(shades, axis=0)
    if (np.abs(shades - paper).max(axis=1) > _CONTRAST).mean() < 1e-3:  # one colour
        return alpha if seen.mean() < _SHEET else np.zeros_like(alpha)
    left, top_row, width, height = cv2.boundingRect(seen)
    box = np.s_[top_row : top_row + height, left : left + width]
    if seen[box].mean() > _FILLED:
        ink = np.zeros_like(alpha)
        ink[box] = _ink_on_paper(_laid_on(paper, colours[box], alpha[box]))
        return ink
    white, dark = (shades.min(axis=1) > 230).mean(), (shades.min(axis=1) < 128).mean()
    if white > 0.05 and dark > 0.01 and white + dark > 0.7:  # white below the strokes, or painted over some
        return _ink_on_paper(_laid_on(np.full(3, 255.0), colours, alpha))
    return alpha


def _strokes_in(alpha: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """The alpha channel of a black picture, unless nearly all of it is filled."""
    return alpha if cv2.mean(alpha)[0] < _SHEET * 255 else np.zeros_like(alpha)


def _laid_on(
    paper: Float[np.ndarray, "3"],
    colours: UInt8[np.ndarray, "height width 3"],
    alpha: UInt8[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width 3"]:
    """Lays a transparent picture on opaque paper."""
    top = int(alpha.max())
    through = np.uint8(top) - alpha
    layers = []
    for channel, shade in enumerate(paper):
        own = cv2.multiply(cv2.extractChannel(colours, channel), alpha, scale=1 / top)
        layers.append(cv2.add(own, cv2.convertScaleAbs(through, alpha=shade / top)))
    return cv2.merge(layers)


def _ink_on_paper(colours: UInt8[np.ndarray, "height width *channels"]) -> UInt8[np.ndarray, "height width"]:
    """Returns each pixel's distance from the paper in the channel where it is largest: yellow is as bright as paper."""
    step = _step(colours)
    sample = np.atleast_3d(colours[::step, ::step])
    ground = _ground(sample)
    beyond = sample - ground
    noise = 4 * np.median(np.abs(beyond[_band(sample)]), axis=0)  # nearly three standard deviations, if normal
    darker, lighter = (np.square(np.maximum(side * beyond - noise, 0)).sum() for side in (-1, 1))

    ink = np.zeros(colours.shape[:2], np.uint8)
    reach = np.zeros_like(ink)  # the distance from the paper to black, or to white on a blackboard
    for channel in range(sample.shape[2]):
        shade = cv2.extractChannel(colours, channel)
        paper = cv2.resize(np.rint(ground[..., channel]).astype(np.uint8), shade.shape[::-1])
        if darker < lighter:  # a blackboard
            shade, paper = cv2.bitwise_not(shade), cv2.bitwise_not(paper)
        away = cv2.subtract(paper, shade)
        away -= np.minimum(away, np.uint8(np.rint(noise[channel]).clip(0, 255)))
        ink, reach = cv2.max(ink, away), cv2.max(reach, paper)
    # Scale so that the largest possible distance is 255: strokes on grey paper, or in shadow, are then no weaker.
    reach = np.maximum(reach, 64)
    farthest = float(np.median(reach[::step, ::step]))
    if reach.min() == reach.max():
        ink = cv2.LUT(ink, np.clip(np.rint(np.arange(256) * (255 / farthest)), 0, 255).astype(np.uint8))
    else:
        ink = cv2.divide(ink, reach, scale=255)
    strongest = np.percentile(ink[::step, ::step], 99.8)
    if _CONTRAST * 255 / farthest <= strongest < _FAINT:
        ink = cv2.convertScaleAbs(ink, alpha=255 / strongest)
    return _without_frame(ink)


def _band(sample: UInt8[np.ndarray, "height width channels"]) -> Bool[np.ndarray, "height width"]:
    """Marks where the ground is sampled: along the border, wide enough that a frame is less than half of it."""
    height, width = sample.shape[:2]
    band = np.ones((height, width), bool)
    margin = max(3, min(height, width) // 10)
    band[margin : height - margin, margin : width - margin] = False
    return band


def _ground(sample: UInt8[np.ndarray, "height width channels"]) -> Float32[np.ndarray, "height width channels"]:
    """Returns the paper's colour at each pixel.

    If most of the border has one colour, that is the paper's. Otherwise the light is uneven, and a quadratic surface is
    fitted to the pixels that are not ink.
    """
    height, width, _ = sample.shape
    border = sample[_band(sample)]
    paper = np.rint(np.median(border, axis=0))
    ground = np.broadcast_to(paper, sample.shape).astype(np.float32)
    if not np.median(np.abs(border - paper), axis=0).any():
        return ground
    y, x = (axis.ravel() for axis in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    values = sample.reshape(height * width, -1).astype(np.float64)
    surface, near = values, np.ones(len(values), bool)
    for _ in range(8):
        near_terms = terms[near].T
        surface = terms @ np.linalg.lstsq(near_terms @ near_terms.T, near_terms @ values[near], rcond=None)[0]
        away = np.abs(values - surface).max(axis=1)
        near = away <= 2.5 * np.median(away[near]) + 1
    return surface.reshape(sample.shape).clip(0, 255).astype(np.float32)


def _without_frame(ink: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Erases lines along the edges of the picture, if all four edges have them."""
    for depth in range(min(ink.shape) // 20 + 1):
        edges = ink[depth], ink[-1 - depth], ink[:, depth], ink[:, -1 - depth]
        if not all((edge > _FAINT / 2).mean() > 0.95 for edge in edges):
            break
        for edge in edges:
            edge[:] = 0
    return ink


def _step(picture: UInt8[np.ndarray, "height width *channels"]) -> int:
    """Returns the stride that samples about 128 rows and columns, which are enough to judge by."""
    return max(1, max(picture.shape[:2]) // 128)


def _to_uint8(
    picture: UInt8[np.ndarray, "height width *channels"] | UInt16[np.ndarray, "height width *channels"],
) -> UInt8[np.ndarray, "height width *channels"]:
    if picture.dtype == np.uint8:
        return picture
    # The high bytes of 16-bit numbers, because shifting would double the memory.
    return np.ascontiguousarray(picture.view(np.uint8)[..., int(sys.byteorder == "little") :: 2])
