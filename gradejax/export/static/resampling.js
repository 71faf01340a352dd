// The ink of a drawing as a network sees it: what gradejax.resampling and gradejax.views do, to the last bit where
// OpenCV averages, which is nearly always.

const DRAWN = 32; // of 255: fainter ink is not cropped to
const CROP_MARGIN = 1.25;
const SMALLEST_CROP = 0.5;
const HALF_TO_EVEN = 2 ** 52; // a number to which it is added is rounded to a whole one

const rounded = (value) => value + HALF_TO_EVEN - HALF_TO_EVEN;

// Returns the function from a drawing of `side` x `side` bytes to a picture of `size` x `size`, which the next call
// overwrites.
export function resampler(side, size, method) {
  const picture = new Uint8Array(size * size);
  if (method === "point") return (ink) => interpolate(ink, side, picture, size);
  const most = Math.ceil(CROP_MARGIN * side);
  const average = averager(most, size);
  if (method === "area") return (ink) => average(ink, side, picture);
  const square = new Uint8Array(most * most);
  return (ink) => {
    const { left, top, width, height } = extent(ink, side);
    if (!width) return average(ink, side, picture);
    const cropped = rounded(Math.max(CROP_MARGIN * Math.max(width, height), SMALLEST_CROP * side));
    square.fill(0, 0, cropped * cropped);
    const [x, y] = [(cropped - width) >> 1, (cropped - height) >> 1];
    for (let row = 0; row < height; row++) {
      const start = (top + row) * side + left;
      square.set(ink.subarray(start, start + width), (y + row) * cropped + x);
    }
    return average(square, cropped, picture);
  };
}

function extent(ink, side) {
  let [left, right, top, bottom] = [side, -1, side, -1];
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      if (ink[y * side + x] < DRAWN) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  return right < 0 ? { width: 0 } : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

// OpenCV's INTER_AREA, for squares of at most `most` x `most`: a new pixel is the mean of those that it covers.
function averager(most, size) {
  const room = most + 2 * size;
  const [to, pixel, share] = [new Int32Array(room), new Int32Array(room), new Float32Array(room)];
  const [row, sum] = [new Float32Array(size), new Float32Array(size)];

  // Lists for each new pixel, along one side, those that it covers, and their shares in the mean. Returns how many.
  function cover(side, scale) {
    let n = 0;
    const add = (x, covered, part) => {
      [to[n], pixel[n], share[n]] = [x, covered, part];
      n++;
    };
    for (let x = 0; x < size; x++) {
      const [start, end] = [x * scale, x * scale + scale];
      const width = Math.min(scale, side - start);
      const last = Math.min(Math.floor(end), side - 1);
      const first = Math.min(Math.ceil(start), last);
      if (first - start > 1e-3) add(x, first - 1, (first - start) / width);
      for (let whole = first; whole < last; whole++) add(x, whole, 1 / width);
      if (end - last > 1e-3) add(x, last, Math.min(end - last, 1, width) / width);
    }
    return n;
  }

  return (ink, side, picture) => {
    if (side < size) return interpolate(ink, side, picture, size, true);
    const scale = 1 / (size / side); // not always side / size
    if (Number.isInteger(scale)) return averageWhole(ink, side, picture, size, scale);
    const n = cover(side, scale);
    for (let i = 0; i < n; i++) {
      row.fill(0);
      const start = pixel[i] * side;
      for (let j = 0; j < n; j++) row[to[j]] += Math.fround(ink[start + pixel[j]] * share[j]);
      for (let x = 0; x < size; x++) sum[x] += Math.fround(row[x] * share[i]);
      if (i + 1 < n && to[i + 1] === to[i]) continue;
      for (let x = 0; x < size; x++) picture[to[i] * size + x] = rounded(sum[x]);
      sum.fill(0);
    }
    return picture;
  };
}

// The same where a new pixel covers `scale` x `scale` whole ones.
function averageWhole(ink, side, picture, size, scale) {
  const share = Math.fround(1 / scale ** 2);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      let sum = 0;
      for (let i = 0; i < scale; i++) {
        const start = (y * scale + i) * side + x * scale;
        for (let j = 0; j < scale; j++) sum += ink[start + j];
      }
      picture[y * size + x] = scale === 2 ? (sum + 2) >> 2 : rounded(Math.fround(sum * share));
    }
  }
  return picture;
}

// OpenCV's INTER_LINEAR, in its fixed-point numbers; if `isAverage`, its INTER_AREA where pixels become more.
function interpolate(ink, side, picture, size, isAverage = false) {
  const scale = 1 / (size / side);
  const places = Array.from({ length: size }, (_, x) => {
    const place = Math.fround((x + 0.5) * scale - 0.5);
    let pixel = Math.floor(isAverage ? x * scale : place);
    let share = Math.fround(place - pixel);
    if (isAverage) {
      share = Math.fround(x + 1 - (pixel + 1) * (size / side));
      share = share <= 0 ? 0 : share - Math.floor(share);
    }
    if (pixel < 0) [pixel, share] = [0, 0];
    if (pixel >= side - 1) [pixel, share] = [side - 1, 0];
    const next = Math.min(pixel + 1, side - 1);
    return { pixel, next, own: rounded((1 - share) * 2048), other: rounded(share * 2048) };
  });
  places.forEach((down, y) => {
    places.forEach(({ pixel, next, own, other }, x) => {
      const along = (row) => (ink[row * side + pixel] * own + ink[row * side + next] * other) >> 4;
      const both = ((down.own * along(down.pixel)) >> 16) + ((down.other * along(down.next)) >> 16);
      picture[y * size + x] = (both + 2) >> 2;
    });
  });
  return picture;
}

// A picture turned, slanted and stretched by the affine map `map`, between pixels in single precision as in
// gradejax.augment_device. Returns the function from a picture to what the view shows of it, which the next call
// overwrites.
export function view([down, right, top, downward, across, left], size) {
  const seen = new Uint8Array(size * size);
  const corners = new Int32Array(4 * size * size);
  const shares = new Float32Array(2 * size * size);
  const place = (value) => Math.fround(Math.min(Math.max(value, 0), size - 1));
  for (let i = 0; i < size * size; i++) {
    const [y, x] = [Math.floor(i / size), i % size];
    const row = place(down * y + right * x + top);
    const column = place(downward * y + across * x + left);
    const [above, before] = [Math.floor(row), Math.floor(column)];
    const [below, after] = [Math.min(above + 1, size - 1), Math.min(before + 1, size - 1)];
    corners.set([above * size + before, above * size + after, below * size + before, below * size + after], 4 * i);
    shares.set([row - above, column - before], 2 * i);
  }
  return (picture) => {
    for (let i = 0; i < seen.length; i++) {
      const [under, beside] = [shares[2 * i], shares[2 * i + 1]];
      const corner = (n) => picture[corners[4 * i + n]];
      const over = Math.fround(corner(0) * (1 - beside) + corner(1) * beside);
      const low = Math.fround(corner(2) * (1 - beside) + corner(3) * beside);
      seen[i] = rounded(Math.fround(over * (1 - under) + low * under));
    }
    return seen;
  };
}
