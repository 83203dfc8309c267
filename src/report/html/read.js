'use strict';
// Reads the page's data block: columns back into numbers, and numbers into words. Times are in
// milliseconds since the run started, sizes in bytes.
const run = (() => {
  const column = (series) => {
    const out = new Float64Array(series.d.length);
    let sum = 0;
    series.d.forEach((step, n) => {
      if (step !== null) sum += step;
      // Dividing keeps times at the very number that was written, where 0.001 does not.
      const value = series.unit < 1 ? sum / Math.round(1 / series.unit) : sum * series.unit;
      out[n] = step === null ? NaN : value;
    });
    return out;
  };
  const table = (raw) => {
    const out = { length: 0 };
    for (const name of Object.keys(raw)) out[name] = column(raw[name]);
    const first = out.from || out.at;
    out.length = first ? first.length : 0;
    return out;
  };
  const raw = JSON.parse(document.getElementById('data').textContent);
  for (const name of ['memory', 'flow', 'latency', 'vitals']) raw[name] = table(raw[name]);
  for (const spike of raw.spikes) if (spike.ticks) spike.ticks = table(spike.ticks);
  return raw;
})();

const say = {
  // As the tables print sizes: a binary unit and three significant places.
  size(bytes) {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
    let unit = 0;
    let value = bytes;
    while (value >= 1023.95 && unit + 1 < units.length) {
      value /= 1024;
      unit += 1;
    }
    const place = unit > 0 && value < 99.95 && Math.round(value * 10) % 10 !== 0;
    return `${value.toFixed(place ? 1 : 0)} ${units[unit]}`;
  },
  millis(ms) {
    if (ms >= 1e4) return `${(ms / 1e3).toFixed(1)} s`;
    if (ms >= 1e3) return `${(ms / 1e3).toFixed(2)} s`;
    if (ms >= 10) return `${ms.toFixed(0)} ms`;
    return ms >= 1 ? `${ms.toFixed(1)} ms` : `${Math.round(ms * 1e3)} µs`;
  },
  number(value) {
    if (value >= 1e6) return `${+(value / 1e6).toFixed(2)}M`;
    if (value >= 1e4) return `${+(value / 1e3).toFixed(2)}k`;
    return value < 0.1 ? `${+value.toPrecision(2)}` : `${+value.toFixed(2)}`;
  },
  // A time of the run: 02:05, 1:02:05, with places below a second where `step` needs them.
  clock(ms, step = 1000) {
    const places = step < 1 ? 4 : step < 10 ? 3 : step < 100 ? 2 : step < 1000 ? 1 : 0;
    const unit = 10 ** (3 - places);
    const all = Math.round(ms / unit) * unit;
    const two = (value) => String(value).padStart(2, '0');
    const hours = Math.floor(all / 3.6e6);
    const minutes = Math.floor(all / 6e4) % 60;
    const seconds = (all % 6e4) / 1000;
    const text = seconds.toFixed(places).padStart(places ? places + 3 : 2, '0');
    return hours > 0 ? `${hours}:${two(minutes)}:${text}` : `${two(minutes)}:${text}`;
  },
};

// The last row that begins at or before a time; -1 before the first.
const rowAt = (starts, time) => {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
};
