// Draws the panels: one canvas each, all on the same stretch of time.
const LEFT = 64;
const RIGHT = 10;
const view = { from: run.span[0], to: Math.max(run.span[1], run.span[0] + 1), fit: false };

const inks = () => {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim() || '#888888';
};

const extent = (table, from, to) => {
  if (!table.length) return [0, 0];
  const first = Math.max(0, rowAt(table.from, from));
  return [first, Math.max(first, rowAt(table.from, to) + 1)];
};

const most = (table, columns, from, to) => {
  const [first, end] = extent(table, from, to);
  let high = -Infinity;
  let low = Infinity;
  for (const name of columns) {
    const column = table[name];
    for (let n = first; n < end; n += 1) {
      if (column[n] > high) high = column[n];
      if (column[n] < low) low = column[n];
    }
  }
  return high === -Infinity ? [0, 1] : [low, high];
};

// Round values between two ends.
const roundSteps = (low, high, isSize) => {
  const reach = high - low || 1;
  let step;
  if (isSize) {
    step = 4096;
    while (reach / step > 5) step *= 2;
  } else {
    const power = 10 ** Math.floor(Math.log10(reach / 3));
    step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= reach / 3) || reach;
  }
  const out = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high * (1 + 1e-9); n += 1) out.push(n * step);
  return out;
};

const linear = (low, high, top, bottom) => (value) =>
  bottom - ((value - low) / (high - low || 1)) * (bottom - top);

const SECOND = 1000;
const TIME_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500].concat(
  [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].map((s) => s * SECOND));
const timeStep = (wide) => TIME_STEPS.find((step) => (view.to - view.from) / step <= Math.max(2, wide / 90)) || 86400 * SECOND;

// What each panel shows. `text` tells the value at a row, for the read-out beside the name.
const size = (column) => (t, n) => say.size(t[column][n]);
const plain = (column) => (t, n) => say.number(t[column][n]);
const time = (column) => (t, n) => say.millis(t[column][n]);
const share = (column) => (t, n) => `${t[column][n].toFixed(1)} %`;
const panels = [
  { name: 'Memory', table: run.memory, high: 300, isSize: true, patience: 3, series: [
    { name: 'unreclaimable, low to high', ink: 'purple', low: 'low_min', top: 'high', edge: 'low_max', text: (t, n) => (t.low_max[n] === t.high[n] ? say.size(t.high[n]) : `${say.size(t.low_max[n])} to ${say.size(t.high[n])}`) },
    { name: 'usage', ink: 'blue', low: 'used_min', top: 'used_max', edge: 'used_max', text: size('used_max') },
    { name: 'charged peak', ink: 'orange', peak: 'peak', base: 'used_max', at: 'peak_at', text: size('peak') },
    { name: 'RSS', ink: 'green', line: 'rss', text: size('rss') },
    { name: 'page cache', ink: 'muted', line: 'cache', dash: [4, 3], text: size('cache') },
  ] },
  { name: 'Requests sent per second', table: run.flow, high: 84, patience: 3, series: [
    { name: 'least to most', ink: 'blue', low: 'rate_min', top: 'rate_max', edge: 'rate_max', text: (t, n) => `${say.number(t.rate_min[n])} to ${say.number(t.rate_max[n])}` },
    { name: 'failed', ink: 'red', text: plain('failed') },
  ] },
  { name: 'Requests in flight', table: run.flow, high: 74, patience: 3, series: [
    { name: 'most', ink: 'purple', low: 'zero', top: 'in_flight', edge: 'in_flight', text: plain('in_flight') },
  ] },
  { name: 'Latency', table: run.latency, high: 110, isTime: true, patience: 30, series: [
    { name: 'max', ink: 'red', line: 'max', text: time('max') },
    { name: 'p99', ink: 'orange', line: 'p99', text: time('p99') },
    { name: 'p95', ink: 'green', line: 'p95', text: time('p95') },
    { name: 'p50', ink: 'blue', line: 'p50', text: time('p50') },
  ] },
  { name: 'CPU, cores in use', table: run.vitals, high: 66, patience: 3, series: [
    { name: 'cores', ink: 'blue', line: 'cores', text: plain('cores') },
  ] },
  { name: 'Waiting, % of the time (PSI)', table: run.vitals, high: 66, patience: 3, series: [
    { name: 'memory', ink: 'red', line: 'psi_memory', text: share('psi_memory') },
    { name: 'CPU', ink: 'orange', line: 'psi_cpu', text: share('psi_cpu') },
    { name: 'I/O', ink: 'green', line: 'psi_io', text: share('psi_io') },
  ] },
  { name: 'Threads and descriptors', table: run.vitals, high: 66, patience: 3, series: [
    { name: 'threads', ink: 'blue', line: 'threads', text: plain('threads') },
    { name: 'open files and sockets', ink: 'orange', line: 'files', text: plain('files') },
  ] },
];
run.flow.zero = new Float64Array(run.flow.length);

// Keeps what has data, and notes where a line must break: time is missing, or another life begins.
const quiet = !run.flow.in_flight.some((count) => count > 0) && !run.latency.length;
const known = panels.filter((panel) => {
  if (quiet && panel.table === run.flow) return false;
  panel.series = panel.series.filter((s) => {
    const column = panel.table[s.line || s.top || s.peak];
    return panel.table.length > 0 && (!column || column.some((value) => !Number.isNaN(value)));
  });
  const t = panel.table;
  panel.breaks = new Uint8Array(t.length);
  for (let n = 1; n < t.length; n += 1) {
    const wide = Math.max(panel.patience * (t.to[n - 1] - t.from[n - 1]), panel.patience * 100);
    const apart = t.life && t.life[n] !== t.life[n - 1];
    if (apart || t.from[n] - t.to[n - 1] > wide) panel.breaks[n] = 1;
  }
  return panel.series.length > 0;
});

const place = (wide) => {
  const scale = (wide - LEFT - RIGHT) / (view.to - view.from);
  return (at) => LEFT + (at - view.from) * scale;
};
const timeAt = (x, wide) => view.from + ((x - LEFT) / (wide - LEFT - RIGHT)) * (view.to - view.from);

// Calls `stretch(first, end)` for each run of rows that belong together.
const stretches = (panel, stretch) => {
  const [first, end] = extent(panel.table, view.from, view.to);
  let begin = first;
  for (let n = first + 1; n <= end; n += 1) {
    if (n === end || panel.breaks[n]) {
      stretch(begin, n);
      begin = n;
    }
  }
};

const trace = (pen, t, column, first, end, x, y) => {
  for (let n = first; n < end; n += 1) {
    if (Number.isNaN(column[n])) continue;
    pen.lineTo(x(t.from[n]), y(column[n]));
    pen.lineTo(x(t.to[n]), y(column[n]));
  }
};

const drawSeries = (pen, panel, s, x, y, color) => {
  const t = panel.table;
  pen.strokeStyle = color;
  pen.fillStyle = color;
  pen.setLineDash(s.dash || []);
  stretches(panel, (first, end) => {
    if (s.low) {
      pen.globalAlpha = 0.28;
      pen.beginPath();
      trace(pen, t, t[s.top], first, end, x, y);
      for (let n = end - 1; n >= first; n -= 1) {
        pen.lineTo(x(t.to[n]), y(t[s.low][n]));
        pen.lineTo(x(t.from[n]), y(t[s.low][n]));
      }
      pen.fill();
      pen.globalAlpha = 1;
    }
    const column = t[s.line || s.edge];
    if (column) {
      pen.lineWidth = 1.4;
      pen.beginPath();
      trace(pen, t, column, first, end, x, y);
      pen.stroke();
    }
    if (s.peak) {
      pen.lineWidth = 1;
      pen.beginPath();
      for (let n = first; n < end; n += 1) {
        const [base, top] = [y(t[s.base][n]), y(t[s.peak][n])];
        if (base - top < 1) continue;
        pen.moveTo(x(t[s.at][n]), base);
        pen.lineTo(x(t[s.at][n]), top);
      }
      pen.stroke();
    }
  });
  pen.setLineDash([]);
};

// Raw ticks of spikes, where they are far enough apart to be told from each other.
const drawTicks = (pen, x, y, ink) => {
  for (const spike of run.spikes) {
    const t = spike.ticks;
    if (!t || t.length < 2 || t.at[t.length - 1] < view.from || t.at[0] > view.to) continue;
    const wide = (x(t.at[t.length - 1]) - x(t.at[0])) / t.length;
    if (wide < 0.7) continue;
    pen.strokeStyle = ink('text');
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (let n = 0; n < t.length; n += 1) pen.lineTo(x(t.at[n]), y(t.most[n]));
    pen.stroke();
    pen.strokeStyle = ink('orange');
    pen.lineWidth = Math.min(3, Math.max(1, wide / 3));
    pen.beginPath();
    for (let n = 0; n < t.length; n += 1) {
      pen.moveTo(x(t.at[n]), y(t.most[n]));
      pen.lineTo(x(t.at[n]), y(t.peak[n]));
    }
    pen.stroke();
  }
};

const label = (pen, text, x, y, color, ground, bounds) => {
  const wide = pen.measureText(text).width + 10;
  const left = Math.min(Math.max(x - wide / 2, bounds[0]), bounds[1] - wide);
  pen.fillStyle = ground;
  pen.fillRect(left, y - 9, wide, 18);
  pen.fillStyle = color;
  pen.textAlign = 'left';
  pen.textBaseline = 'middle';
  pen.fillText(text, left + 5, y + 0.5);
};

// What only the panel of memory shows: limit, spikes, the peak, kills by name.
const drawMarks = (pen, panel, x, y, ink, box) => {
  const across = (value, name, color, right) => {
    if (y(value) < box.top - 1 || y(value) > box.bottom) return;
    pen.strokeStyle = color;
    pen.lineWidth = 1.25;
    pen.setLineDash([6, 4]);
    pen.beginPath();
    pen.moveTo(LEFT, y(value));
    pen.lineTo(box.right, y(value));
    pen.stroke();
    pen.setLineDash([]);
    pen.fillStyle = ink('text');
    pen.textAlign = right ? 'right' : 'left';
    pen.textBaseline = 'bottom';
    pen.fillText(name, right ? box.right - 4 : LEFT + 4, y(value) - 2);
  };
  if (run.limit !== null) across(run.limit, `limit ${say.size(run.limit)}`, ink('text'), false);
  if (run.recommended) across(run.recommended[0], run.recommended[1], ink('green'), true);
  const t = panel.table;
  const [first, end] = extent(t, view.from, view.to);
  pen.fillStyle = ink('red');
  for (let n = first; n < end; n += 1) {
    if (t.hits[n] > 0) pen.fillRect(Math.max(LEFT, x(t.from[n])), box.top, Math.max(1.5, x(t.to[n]) - x(t.from[n])), 4);
  }
  for (const spike of run.spikes.slice(0, 60)) {
    if (spike.at < view.from || spike.at > view.to) continue;
    const [sx, sy] = [x(spike.at), y(spike.peak) - 2];
    pen.beginPath();
    pen.moveTo(sx, sy);
    pen.lineTo(sx - 4, sy - 7);
    pen.lineTo(sx + 4, sy - 7);
    pen.fill();
  }
  if (run.peak && run.peak.at >= view.from && run.peak.at <= view.to) {
    label(pen, `peak ${run.peak.text}`, x(run.peak.at), Math.max(box.top + 10, y(run.peak.bytes) - 18), ink('text'), ink('ground'), [LEFT, box.right]);
  }
  for (const kill of run.kills) {
    if (kill < view.from || kill > view.to) continue;
    label(pen, `OOM kill ${say.clock(kill)}`, x(kill), box.bottom - 12, ink('ground'), ink('red'), [LEFT, box.right]);
  }
};

const drawTimes = (pen, x, ink, box, named) => {
  const step = timeStep(box.right - LEFT);
  pen.strokeStyle = ink('grid');
  pen.lineWidth = 1;
  pen.fillStyle = ink('muted');
  pen.textAlign = 'center';
  pen.textBaseline = 'top';
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
    pen.beginPath();
    pen.moveTo(Math.round(x(at)) + 0.5, box.top);
    pen.lineTo(Math.round(x(at)) + 0.5, box.bottom);
    pen.stroke();
    if (named) pen.fillText(say.clock(at, step), Math.min(x(at), box.right - 18), box.bottom + 5);
  }
};

const drawPhases = (pen, x, ink, box, named) => {
  run.phases.forEach((phase, n) => {
    const [from, to] = [Math.max(LEFT, x(phase.from)), Math.min(box.right, x(phase.to))];
    if (to <= LEFT || from >= box.right) return;
    if (n % 2 === 0) {
      pen.fillStyle = ink('shade');
      pen.fillRect(from, named ? 0 : box.top, to - from, box.bottom - (named ? 0 : box.top));
    }
    if (!named) return;
    pen.fillStyle = ink('text');
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    let name = phase.name;
    while (name.length > 1 && pen.measureText(name).width > to - from - 6) name = name.slice(0, -1);
    if (name.length < phase.name.length) name = name.length > 3 ? `${name.slice(0, -1)}…` : '';
    pen.fillText(name, (from + to) / 2, 9);
  });
};

const valueScale = (panel, box) => {
  const columns = panel.series.flatMap((s) => [s.low, s.top, s.line, s.peak].filter(Boolean));
  const [from, to] = view.fit ? [view.from, view.to] : run.span;
  let [low, high] = most(panel.table, columns, from, to);
  if (panel.isTime && high / Math.max(low, 0.001) >= 30) {
    const least = 10 ** Math.floor(Math.log10(Math.max(low, 0.001)));
    const top = Math.log10(Math.max(high, 0.01) * 1.3);
    const y = linear(Math.log10(least), top, box.top, box.bottom);
    const steps = [];
    for (let value = least; Math.log10(value) <= top; value *= 10) steps.push(value);
    return { y: (value) => y(Math.log10(Math.max(value, least))), steps };
  }
  if (panel.isSize && !view.fit && run.limit !== null && run.limit <= high * 8) high = Math.max(high, run.limit);
  low = view.fit ? low - (high - low) * 0.08 : 0;
  high += (high - low || 1) * 0.11;
  return { y: linear(low, high, box.top, box.bottom), steps: roundSteps(low, high, panel.isSize) };
};

const drawPanel = (panel, isFirst, isLast) => {
  const { canvas } = panel;
  const wide = canvas.parentElement.clientWidth;
  const head = isFirst ? 20 : 6;
  const high = head + panel.high + (isLast || isFirst ? 24 : 6);
  const dots = window.devicePixelRatio || 1;
  canvas.width = Math.round(wide * dots);
  canvas.height = Math.round(high * dots);
  canvas.style.height = `${high}px`;
  const pen = canvas.getContext('2d');
  pen.scale(dots, dots);
  pen.font = '11px system-ui, sans-serif';
  pen.lineJoin = 'round';
  const ink = inks();
  const box = { top: head, bottom: head + panel.high, right: wide - RIGHT };
  const x = place(wide);
  drawPhases(pen, x, ink, box, isFirst);
  drawTimes(pen, x, ink, box, isLast || isFirst);
  const { y, steps } = valueScale(panel, box);
  pen.textAlign = 'right';
  pen.textBaseline = 'middle';
  for (const value of steps) {
    pen.fillStyle = ink('grid');
    pen.fillRect(LEFT, Math.round(y(value)), box.right - LEFT, 1);
    pen.fillStyle = ink('muted');
    const text = panel.isSize ? say.size(value) : panel.isTime ? say.millis(value) : say.number(value);
    pen.fillText(value === 0 ? '0' : text, LEFT - 7, y(value));
  }
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, 0, box.right - LEFT, box.bottom + 1);
  pen.clip();
  for (const s of panel.series) if (s.line || s.top || s.peak) drawSeries(pen, panel, s, x, y, ink(s.ink));
  pen.lineWidth = 1.5;
  for (const [times, name] of [[run.actions, 'purple'], [run.kills, 'red'], [run.restarts, 'sky']]) {
    pen.fillStyle = ink(name);
    for (const at of times) pen.fillRect(x(at) - 0.75, box.top, 1.5, panel.high);
  }
  if (panel.isSize) {
    drawTicks(pen, x, y, ink);
    drawMarks(pen, panel, x, y, ink, box);
  }
  pen.restore();
};

const drawAll = () => known.forEach((panel, n) => drawPanel(panel, n === 0, n === known.length - 1));
