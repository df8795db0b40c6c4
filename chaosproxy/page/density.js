'use strict';
// Many lanes as one row: how many were dialling, open, established or silent over time, and how often faults struck.

const KINDS = ['established', 'open', 'dialling', 'silent']; // from the bottom up
const BIN_PX = 3;
const STACK = { top: 5, bottom: 43 };
const STRIKES = { top: 45, bottom: 51 };

/** Sums over time, in bins of the same length: stretches by how much of a bin they cover, moments by their count. */
class Bins {
  constructor(from, to, length) {
    this.length = length;
    this.first = Math.floor(from / length);
    this.count = Math.max(1, Math.ceil(to / length) - this.first);
    this.steps = new Float64Array(this.count + 1); // what changes at the beginning of a bin
    this.parts = new Float64Array(this.count);
  }

  addStretch(from, to) {
    const start = Math.max(0, from / this.length - this.first);
    const end = Math.min(this.count, to / this.length - this.first);
    if (end <= start) return;
    const head = Math.floor(start);
    const tail = Math.min(Math.floor(end), this.count - 1);
    if (head === tail) {
      this.parts[head] += end - start;
      return;
    }
    this.parts[head] += head + 1 - start;
    this.parts[tail] += end - tail;
    this.steps[head + 1] += 1;
    this.steps[tail] -= 1;
  }

  addMoment(at, count) {
    const bin = Math.floor(at / this.length) - this.first;
    if (bin >= 0 && bin < this.count) this.parts[bin] += count;
  }

  values() {
    let level = 0;
    return this.parts.map((part, bin) => {
      level += this.steps[bin];
      return part + level;
    });
  }
}

function countLanes(lanes, view) {
  const length = BIN_PX / view.pps;
  const end = view.drawnTo; // what lasts still is cut at now
  const bins = {};
  for (const kind of [...KINDS, 'strikes']) bins[kind] = new Bins(view.drawnFrom, end, length);
  for (const lane of lanes) {
    for (const item of lane.wire.values()) {
      const to = item.to === null ? end : item.to;
      if (to > view.drawnFrom && item.from < end && bins[item.what]) bins[item.what].addStretch(item.from, to);
    }
    for (const mark of lane.marks.values()) if (mark.kind === 'struck') bins.strikes.addMoment(mark.at, mark.count || 1);
  }
  return bins;
}

/** An area between two lines of steps, which have a corner only where a value changes. */
function areaPath(lower, upper, xOf, yOf) {
  const there = [];
  const back = [];
  let begun = -1;
  const close = (bin) => {
    there.push(`H${xOf(bin)}`);
    back.push(`V${yOf(lower[bin - 1])}`);
    return `M${xOf(begun)} ${yOf(lower[begun])}${there.join('')}${back.reverse().join('')}Z`;
  };
  let path = '';
  for (let bin = 0; bin < upper.length; bin += 1) {
    const isThere = upper[bin] - lower[bin] > 1e-6;
    const isSame = bin > 0 && begun >= 0 && yOf(upper[bin]) === yOf(upper[bin - 1]) && yOf(lower[bin]) === yOf(lower[bin - 1]);
    if (begun >= 0 && isThere && isSame) continue;
    if (begun >= 0 && !isThere) {
      path += close(bin);
      begun = -1;
    } else if (isThere) {
      if (begun < 0) {
        begun = bin;
        there.length = back.length = 0;
      } else {
        there.push(`H${xOf(bin)}`);
        back.push(`H${xOf(bin)}V${yOf(lower[bin - 1])}`);
      }
      there.push(`V${yOf(upper[bin])}`);
    }
  }
  return begun >= 0 ? path + close(upper.length) : path;
}

function drawDensity(lanes, group, view) {
  const bins = countLanes(lanes, view);
  const { first, length, count } = bins.established;
  const xOf = (bin) => placeOf((first + bin) * length, view).toFixed(1);
  const scale = (STACK.bottom - STACK.top) / Math.max(1, lanes.length);
  const yOf = (value) => (STACK.bottom - value * scale).toFixed(1);
  const parts = [];
  let lower = new Float64Array(count);
  for (const kind of KINDS) {
    const upper = bins[kind].values().map((value, bin) => value + lower[bin]);
    const path = areaPath(lower, upper, xOf, yOf);
    if (path) {
      parts.push(svg('path', { d: path, class: `area ${kind}` }));
      const pattern = { silent: 'hatch-silent', dialling: 'dots-dialling' }[kind];
      if (pattern) parts.push(svg('path', { d: path, fill: `url(#${pattern})`, class: 'pattern' }));
    }
    lower = upper;
  }
  parts.push(strikesPath(bins.strikes.values(), xOf));
  group.replaceChildren(...parts);
  return [];
}

/** Strikes as small bars, their height by the logarithm of their count. */
function strikesPath(values, xOf) {
  let path = '';
  values.forEach((value, bin) => {
    if (value <= 0) return;
    const height = Math.min(STRIKES.bottom - STRIKES.top, 1.5 + Math.log2(1 + value));
    path += `M${xOf(bin)} ${STRIKES.bottom}v-${height.toFixed(1)}h${BIN_PX - 0.8}V${STRIKES.bottom}z`;
  });
  return svg('path', { d: path, class: 'strikes' });
}

function densityWords(lanes, now) {
  const counts = {};
  for (const lane of lanes) {
    const what = wireNow(lane);
    if (what) counts[what] = (counts[what] || 0) + 1;
  }
  const parts = KINDS.filter((kind) => counts[kind]).map((kind) => `${counts[kind]} ${WIRE_WORDS[kind]}`);
  return parts.join(' · ') || (now ? 'none connected' : '');
}
