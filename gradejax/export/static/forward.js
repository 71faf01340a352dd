// A network's forward pass, with buffers that are made once.

// `layers` begin at the picture. Each is a convolution, whose kernel has so many `rows`, `columns` and channels
// (`depth`) for each of its `units`; a dense layer's kernel is as large as its picture. After it perhaps comes a ReLU
// (`relu`), then a scale and an offset for each unit, then perhaps a max-pool of 2 x 2 (`pool`). `units` is a multiple
// of four.
//
// `weights` are whole numbers of 16 bits: unit after unit, and in each row after row. `vectors` hold for each layer
// what to multiply its units' weights by, their biases, their scales and their offsets.
//
// Returns the function from a picture, `size` x `size` bytes which are first divided by `divisor`, to the outputs of
// the last layer. The next call overwrites them.
export function network({ layers, size, divisor, weights, vectors }) {
  const image = new Float32Array(size * size);
  const steps = [];
  let [height, width, from] = [size, size, image];
  let [weight, vector] = [0, 0]; // where the layer's begin
  const next = (units) => vectors.subarray(vector, (vector += units));
  for (const { rows, columns, depth, units, relu, pool } of layers) {
    const each = rows * columns * depth;
    const sizes = next(units);
    const whole = weights.subarray(weight, (weight += units * each));
    const kernel = Float32Array.from(whole, (value, i) => value * sizes[Math.floor(i / each)]);
    const side = pool ? 2 : 1;
    const step = { from, row: width * depth, depth, rows, span: columns * depth, side, units, kernel, relu };
    [step.biases, step.scales, step.offsets] = [next(units), next(units), next(units)];
    [height, width] = [height - rows + 1, width - columns + 1].map((length) => Math.floor(length / side));
    [step.height, step.width, step.to] = [height, width, new Float32Array(height * width * units)];
    steps.push(step);
    from = step.to;
  }
  return (picture) => {
    for (let i = 0; i < image.length; i++) image[i] = picture[i] / divisor;
    steps.forEach(apply);
    return from;
  };
}

// Four units at a time, for which each number of the picture is loaded only once. A kernel's rows and a picture's are
// contiguous: `span` numbers of one are multiplied by as many of the other.
function apply(step) {
  const { from, row, depth, rows, span, side, units, kernel, relu, biases, scales, offsets, height, width, to } = step;
  const each = rows * span;

  // Of the pixels that are pooled, the largest is kept.
  function keep(pixel, unit, sum) {
    const value = (relu && sum < 0 ? 0 : sum) * scales[unit] + offsets[unit];
    if (value > to[pixel + unit]) to[pixel + unit] = value;
  }

  to.fill(-Infinity);
  for (let y = 0; y < height * side; y++) {
    for (let x = 0; x < width * side; x++) {
      const start = y * row + x * depth;
      const pixel = (Math.floor(y / side) * width + Math.floor(x / side)) * units;
      for (let unit = 0; unit < units; unit += 4) {
        let [a, b, c, d] = [biases[unit], biases[unit + 1], biases[unit + 2], biases[unit + 3]];
        let k = unit * each;
        for (let r = 0; r < rows; r++) {
          const end = start + r * row + span;
          for (let i = start + r * row; i < end; i++, k++) {
            const value = from[i];
            a += value * kernel[k];
            b += value * kernel[k + each];
            c += value * kernel[k + 2 * each];
            d += value * kernel[k + 3 * each];
          }
        }
        keep(pixel, unit, a);
        keep(pixel, unit + 1, b);
        keep(pixel, unit + 2, c);
        keep(pixel, unit + 3, d);
      }
    }
  }
}
