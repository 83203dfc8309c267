// What a reader does: look at a moment, zoom, copy.
(() => {
  const chart = document.getElementById('chart');
  document.documentElement.classList.add('js');
  for (const button of document.querySelectorAll('button[data-copy]')) {
    button.addEventListener('click', async () => {
      const from = document.getElementById(button.dataset.copy);
      const old = button.textContent;
      try {
        await navigator.clipboard.writeText(from.textContent);
      } catch {
        // Not allowed here: select it, so that one key copies it.
        getSelection().selectAllChildren(from);
        button.textContent = 'Selected: press Ctrl+C';
        return;
      }
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = old; }, 2000);
    });
  }
  if (!chart || known.length === 0) return;
  const readout = document.getElementById('readout');
  const make = (name, className, text) => {
    const element = document.createElement(name);
    if (className) element.className = className;
    if (text) element.textContent = text;
    return element;
  };

  for (const panel of known) {
    const figure = make('figure', 'panel');
    const caption = make('figcaption');
    caption.append(make('strong', '', panel.name));
    for (const s of panel.series) {
      const key = make('span', 'key');
      const sign = make('i');
      sign.style.background = `var(--${s.ink})`;
      s.value = make('b', 'value');
      key.append(sign, s.name, ' ', s.value);
      caption.append(key);
    }
    panel.plot = make('div', 'plot');
    panel.canvas = make('canvas');
    panel.canvas.setAttribute('aria-hidden', 'true');
    panel.cross = make('div', 'cross');
    panel.brush = make('div', 'brush');
    panel.plot.append(panel.canvas, panel.cross, panel.brush);
    figure.append(caption, panel.plot);
    chart.append(figure);
  }

  let drawing = false;
  let cursor = null;
  const redraw = () => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      drawAll();
      look(cursor);
    });
  };

  const phaseAt = (at) => run.phases.find((phase) => at >= phase.from && at <= phase.to);
  // The raw tick at a moment, where ticks are shown.
  const tickAt = (at) => {
    for (const spike of run.spikes) {
      const t = spike.ticks;
      if (!t || t.length < 2 || at < t.at[0] || at > t.at[t.length - 1]) continue;
      if (view.to - view.from > 20 * (t.at[t.length - 1] - t.at[0])) continue;
      const n = rowAt(t.at, at);
      return `, tick at ${say.clock(t.at[n], 1)}: ${say.size(t.most[n])}, peak ${say.size(t.peak[n])}`;
    }
    return '';
  };
  const words = (at) => {
    const shown = `${say.clock(view.from, timeStep(600))} to ${say.clock(view.to, timeStep(600))}`;
    if (at === null) return `Shown: ${shown}.`;
    const phase = phaseAt(at);
    const step = (view.to - view.from) / 600;
    return `${say.clock(at, Math.min(100, Math.max(1, step)))}${phase ? ` in ${phase.name}` : ''}${tickAt(at)}. Shown: ${shown}.`;
  };
  function look(at) {
    cursor = at;
    const hidden = at === null || at < view.from || at > view.to;
    for (const panel of known) {
      panel.cross.hidden = hidden;
      if (!hidden) panel.cross.style.transform = `translateX(${place(panel.plot.clientWidth)(at)}px)`;
      const t = panel.table;
      const n = hidden ? -1 : rowAt(t.from, at);
      const inside = n >= 0 && at <= t.to[n] + 3 * (t.to[n] - t.from[n]);
      for (const s of panel.series) s.value.textContent = inside ? s.text(t, n).replace('NaN', '–') : '';
    }
    readout.textContent = words(hidden ? null : at);
  }

  const LEAST = 2;
  const [begin, end] = run.span;
  const show = (from, to) => {
    const wide = Math.min(Math.max(to - from, LEAST), Math.max(end - begin, LEAST));
    const left = Math.min(Math.max(from, begin), Math.max(begin, end - wide));
    view.from = left;
    view.to = left + wide;
    chart.dataset.from = String(view.from);
    chart.dataset.to = String(view.to);
    chart.dataset.whole = String(view.from <= begin && view.to >= end);
    redraw();
  };
  const around = (at, wide) => show(at - wide / 2, at + wide / 2);
  const zoomBy = (factor) => {
    const middle = cursor !== null && cursor >= view.from && cursor <= view.to ? cursor : (view.from + view.to) / 2;
    const wide = (view.to - view.from) * factor;
    const left = (middle - view.from) / (view.to - view.from);
    show(middle - wide * left, middle + wide * (1 - left));
  };
  // A moment with a dozen columns around it.
  const closeTo = (at) => {
    const n = rowAt(run.memory.from, at);
    const column = n >= 0 ? run.memory.to[n] - run.memory.from[n] : 100;
    around(at, Math.max(2000, 24 * column));
    look(at);
  };
  const toSpike = (number) => {
    const spike = run.spikes[number];
    if (!spike) return;
    const t = spike.ticks;
    if (t && t.length > 1) {
      const wide = t.at[t.length - 1] - t.at[0];
      show(t.at[0] - wide * 0.15, t.at[t.length - 1] + wide * 0.15);
      look(spike.at);
    } else {
      closeTo(spike.at);
    }
  };
  const toPeak = () => {
    if (!run.peak) return;
    const spike = run.spikes.findIndex((row) => row.at === run.peak.at && row.ticks);
    if (spike >= 0) toSpike(spike);
    else closeTo(run.peak.at);
  };
  const zooms = {
    all: () => show(begin, end),
    peak: toPeak,
    kill: () => closeTo(run.kills[0]),
    in: () => zoomBy(0.5),
    out: () => zoomBy(2),
  };
  for (const button of document.querySelectorAll('button[data-zoom]')) {
    button.addEventListener('click', () => zooms[button.dataset.zoom]());
  }
  for (const button of document.querySelectorAll('button[data-spike]')) {
    button.addEventListener('click', () => {
      toSpike(Number(button.dataset.spike));
      document.getElementById('timeline').scrollIntoView();
      chart.focus({ preventScroll: true });
    });
  }
  for (const button of document.querySelectorAll('button[data-fit]')) {
    button.addEventListener('click', () => {
      view.fit = !view.fit;
      button.setAttribute('aria-pressed', String(view.fit));
      redraw();
    });
  }
  const list = document.getElementById('spike');
  if (list) {
    run.spikes.forEach((spike, n) => {
      const option = make('option', '', spike.text);
      option.value = String(n);
      list.append(option);
    });
    list.addEventListener('change', () => list.value !== '' && toSpike(Number(list.value)));
  }

  let drag = null;
  const brush = (panel, from, to) => {
    const x = place(panel.plot.clientWidth);
    const [left, right] = [Math.min(x(from), x(to)), Math.max(x(from), x(to))];
    panel.brush.style.transform = `translateX(${left}px)`;
    panel.brush.style.width = `${right - left}px`;
  };
  for (const panel of known) {
    const at = (event) => {
      const frame = panel.plot.getBoundingClientRect();
      return Math.min(Math.max(timeAt(event.clientX - frame.left, frame.width), view.from), view.to);
    };
    panel.plot.addEventListener('pointermove', (event) => {
      look(at(event));
      if (drag !== null) known.forEach((other) => brush(other, drag, at(event)));
    });
    panel.plot.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      drag = at(event);
      panel.plot.setPointerCapture(event.pointerId);
    });
    const drop = (event) => {
      if (drag === null) return;
      const [from, to] = [Math.min(drag, at(event)), Math.max(drag, at(event))];
      drag = null;
      known.forEach((other) => { other.brush.style.width = '0'; });
      if (event.type === 'pointerup' && to - from > (view.to - view.from) * 0.008) show(from, to);
    };
    panel.plot.addEventListener('pointerup', drop);
    panel.plot.addEventListener('pointercancel', drop);
    panel.plot.addEventListener('pointerleave', () => drag === null && look(null));
    panel.plot.addEventListener('dblclick', zooms.all);
  }
  chart.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = (view.to - view.from) / (event.shiftKey ? 10 : 100);
    const from = cursor === null ? (view.from + view.to) / 2 : cursor;
    const move = (by) => {
      const to = Math.min(Math.max(from + by, begin), end);
      if (to < view.from || to > view.to) show(view.from + by * 10, view.to + by * 10);
      look(to);
    };
    const keys = {
      ArrowLeft: () => move(-step), ArrowRight: () => move(step),
      '+': zooms.in, '=': zooms.in, '-': zooms.out, p: toPeak, Escape: zooms.all, 0: zooms.all,
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  const follow = () => {
    const spike = /^#spike-(\d+)$/.exec(location.hash);
    const part = /^#ms-(-?\d+)-(-?\d+)$/.exec(location.hash);
    if (spike) toSpike(Number(spike[1]) - 1);
    else if (part) show(Number(part[1]), Number(part[2]));
    else if (location.hash === '#peak') toPeak();
  };
  addEventListener('hashchange', follow);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  new ResizeObserver(redraw).observe(chart);
  zooms.all();
  follow();
})();
