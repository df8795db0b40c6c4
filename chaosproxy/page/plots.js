'use strict';
// Rates as small plots, from the counters that come with a picture.

const SAMPLES_MAX = 90;
const SAMPLE_S = 0.95;
const PLOT = { width: 200, height: 38 };

const PLOTS = [
  { title: 'Frames per second', series: [['from clients', (now, then, s) => (now.frames.client - then.frames.client) / s],
    ['from the server', (now, then, s) => (now.frames.server - then.frames.server) / s]], words: (v) => `${quantity(v)}/s` },
  { title: 'Bytes per second', series: [['from clients', (now, then, s) => (now.bytes.client - then.bytes.client) / s],
    ['from the server', (now, then, s) => (now.bytes.server - then.bytes.server) / s]], words: (v) => `${quantity(v)}B/s` },
  { title: 'Added latency', series: [['mean', (now, then) => {
    const count = now.delays.count - then.delays.count;
    return count > 0 ? ((now.delays.seconds - then.delays.seconds) / count) * 1000 : 0;
  }]], words: (v) => `${quantity(v)} ms` },
  { title: 'Open connections', series: [['open', (now) => now.open]], words: (v) => v.toFixed(0) },
];

class MeterPlot {
  constructor({ title, series, words }) {
    Object.assign(this, { title, series, words });
    this.samples = series.map(() => []);
    this.figure = el('p', { className: 'figures' });
    this.lines = series.map((_, index) => svg('path', { class: `line line-${index}` }));
    this.drawing = svg('svg', {
      viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, preserveAspectRatio: 'none', role: 'img', class: 'spark',
    }, svg('path', { class: 'base', d: `M0 ${PLOT.height - 0.5}H${PLOT.width}` }), ...this.lines);
    this.element = el('div', { className: 'meter' }, el('h2', { textContent: title }), this.figure, this.drawing);
  }

  add(now, then, seconds) {
    this.series.forEach(([, read], index) => {
      const samples = this.samples[index];
      samples.push(Math.max(0, read(now, then, seconds)));
      if (samples.length > SAMPLES_MAX) samples.shift();
    });
    this.show();
  }

  clear() {
    this.samples = this.series.map(() => []);
    this.show();
  }

  show() {
    const most = Math.max(1e-9, ...this.samples.flat());
    const marks = this.series.length > 1 ? ['↑ ', '↓ '] : [''];
    const latest = this.samples.map((samples) => samples[samples.length - 1] || 0);
    this.figure.replaceChildren(...latest.map((value, index) => (
      el('span', { className: `figure-${index}`, textContent: marks[index] + this.words(value), title: this.series[index][0] }))));
    this.samples.forEach((samples, index) => setAttribute(this.lines[index], 'd', linePath(samples, most)));
    const words = latest.map((value, index) => `${this.series[index][0]} ${this.words(value)}`).join(', ');
    setAttribute(this.drawing, 'aria-label', `${this.title}: ${words}, at most ${this.words(most < 1e-6 ? 0 : most)} of late`);
  }
}

function linePath(samples, most) {
  const step = PLOT.width / (SAMPLES_MAX - 1);
  const first = PLOT.width - (samples.length - 1) * step;
  return samples.map((value, index) => {
    const y = PLOT.height - 1.5 - (value / most) * (PLOT.height - 5);
    return `${index ? 'L' : 'M'}${(first + index * step).toFixed(1)} ${y.toFixed(1)}`;
  }).join('');
}

class Meters {
  constructor(root) {
    this.plots = PLOTS.map((each) => new MeterPlot(each));
    root.replaceChildren(...this.plots.map((each) => each.element));
    this.clear();
  }

  clear() {
    this.then = null;
    for (const plot of this.plots) plot.clear();
  }

  take(meter, at) {
    if (!this.then) {
      this.then = { meter, at };
      return;
    }
    const seconds = at - this.then.at;
    if (seconds < SAMPLE_S) return;
    for (const plot of this.plots) plot.add(meter, this.then.meter, seconds);
    this.then = { meter, at };
  }
}
