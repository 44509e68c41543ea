// The arithmetic of charts, without a page: round axis numbers, paths with gaps, stacks.

// Round numbers from 0 to at least `most`, about `wanted` of them: steps of 1, 2, 2.5 or 5.
export function ticks(most, { wanted = 4, whole = false } = {}) {
  if (!(most > 0)) return whole ? [0, 1] : [0, 1];
  const rough = most / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const sizes = whole ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10];
  let step = sizes.find((size) => size * power >= rough * (1 - 1e-9)) * power;
  if (whole) step = Math.max(1, Math.round(step));
  const last = Math.ceil(most / step - 1e-9);
  // Multiples, not sums: 0.1 added three times is not 0.3.
  return Array.from({ length: last + 1 }, (_, at) => Number((at * step).toPrecision(12)));
}

// Maps [low, high] to [from, to].
export function linear(low, high, from, to) {
  const width = high - low || 1;
  return (value) => from + ((value - low) / width) * (to - from);
}

const tenth = (value) => Number(value.toFixed(1));

// One path for all: a missing value lifts the pen, it is never drawn as nought. A value that
// stands alone between gaps has no line; it is returned to be drawn as a spot.
export function pathWithGaps(values, x, y) {
  let path = "";
  const spots = [];
  const missing = (value) => value === null || value === undefined || Number.isNaN(value);
  values.forEach((value, at) => {
    if (missing(value)) return;
    const begins = at === 0 || missing(values[at - 1]);
    const ends = at === values.length - 1 || missing(values[at + 1]);
    const point = `${tenth(x(at))},${tenth(y(value))}`;
    if (begins && ends) spots.push([tenth(x(at)), tenth(y(value))]);
    else path += `${begins ? "M" : "L"}${point}`;
  });
  return { path, spots };
}

// From rows of one number per series to the lower and upper end of each piece.
export function stack(rows) {
  return rows.map((row) => {
    let sum = 0;
    return row.map((value) => {
      const low = sum;
      sum += value ?? 0;
      return [low, sum];
    });
  });
}

export const highest = (rows) => Math.max(0, ...rows.map((row) => row.reduce((sum, value) => sum + (value ?? 0), 0)));
