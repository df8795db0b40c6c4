'use strict';
// What a picture shows, in words: for tooltips, text alternatives, tables and the log.

const WIRE_WORDS = {
  dialling: 'dialling', open: 'open', established: 'established', silent: 'silent',
};
const WIRE_ABOUT = {
  dialling: 'a connection is being made',
  open: 'the WebSocket is open',
  established: 'the protocol’s own handshake is done',
  silent: 'half-open: nothing passes, and nobody is told',
};
const isNumber = (value) => typeof value === 'number';
const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** A moment of the run, such as 63.201 s, or 12:03.2 where it is long ago. */
function clock(seconds, digits = 3) {
  if (Math.abs(seconds) < 100) return `${seconds.toFixed(digits)} s`;
  return minutes(seconds, Math.min(digits, 1));
}

function minutes(seconds, digits = 0) {
  const sign = seconds < 0 ? '−' : '';
  const rounded = Number(Math.abs(seconds).toFixed(digits));
  const rest = (rounded % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, '0');
  const whole = Math.floor(rounded / 60);
  if (whole < 60) return `${sign}${whole}:${rest}`;
  return `${sign}${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}:${rest}`;
}

function lasting(seconds) {
  if (seconds < 0.0995) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  return `${minutes(seconds)} min`;
}

function quantity(value) {
  if (value >= 1e9) return `${(value / 1e9).toFixed(1)} G`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(0)} k`;
  if (value >= 1e3) return `${(value / 1e3).toFixed(1)} k`;
  return value >= 10 || value === 0 ? value.toFixed(0) : value.toFixed(1);
}

const laneName = (lane) => {
  if (!lane.client && lane.voice) return lane.voice; // what it calls itself
  const name = lane.client || 'client';
  return lane.row ? `${name} · ${lane.row + 1}` : name;
};

const span = (item, now) => {
  const to = item.to === null ? now : item.to;
  return `${clock(item.from)} to ${item.to === null ? 'now' : clock(item.to)}, ${lasting(to - item.from)}`;
};

/** How a connection ended. `how` is close, fin, reset (at what), refused, answered with a status, or an error's words. */
function endWords(end) {
  const by = end.by ? ` by the ${end.by}` : '';
  const reason = end.reason ? `: ${end.reason}` : '';
  if (isNumber(end.status)) return `refused${by} with the status ${end.status}${reason}`;
  if (end.how === 'close') return `closed${by} ${isNumber(end.code) ? `with ${end.code}` : 'without a code'}${reason}`;
  if (end.how === 'fin') return `ended${by} by a FIN${reason}`;
  if (/^reset\b/.test(end.how)) return `${end.how}${by} (RST)${reason}`;
  return `over${by}: ${end.how}${reason}`;
}

const LETTERS = [[/^reset\b/, 'RST'], [/^fin$/, 'FIN'], [/^close$/, 'close'], [/^refused$/, 'refused']];

/** What stands beside the sign of an end: as few letters as say it. */
function endLetters(end) {
  if (isNumber(end.status)) return String(end.status);
  if (isNumber(end.code)) return String(end.code);
  const [, letters] = LETTERS.find(([how]) => how.test(end.how)) || [null, 'error'];
  return letters;
}

function strikeWords(mark) {
  const from = mark.side ? ` from the ${mark.side}` : '';
  if (mark.message === null || mark.message === undefined) {
    return `${mark.fault} struck${mark.count > 1 ? ` ${mark.count} times` : ' the connection'}`;
  }
  if (mark.count > 1) return `${mark.fault} struck ${mark.count} messages${from}`;
  return `${mark.fault} struck message ${mark.message}${from}`;
}

function markWords(mark) {
  const rule = mark.rule ? `, rule ${mark.rule}` : '';
  const detail = mark.detail ? `: ${mark.detail}` : '';
  switch (mark.kind) {
    case 'struck': return `${strikeWords(mark)}${rule}${detail}`;
    case 'healed': return `${mark.fault} healed${rule}${detail}`;
    case 'suppressed': return `${mark.fault} was due but could not act${rule}${detail}`;
    case 'said': return `the client said${detail || ' something'}`;
    case 'limited': return `held bytes reached their bound${mark.side ? `, from the ${mark.side}` : ''}${detail}`;
    default: return `${mark.kind}${rule}${detail}`;
  }
}

const WORDS_OF = {
  wire: (item) => `wire ${WIRE_WORDS[item.what] || item.what}, connection ${item.attempt}`,
  ends: (item) => `connection ${item.attempt} ${endWords(item)}`,
  states: (item) => `client ${item.state}, ${item.source}`,
  marks: markWords,
  bands: (item) => `phase ${item.phase || 'over'}`,
  spells: (item) => `${item.fault}${item.rule ? `, rule ${item.rule}` : ''}${item.end ? `, ${item.end}` : ''}`,
};

const itemWords = (list, item) => WORDS_OF[list](item);

/** The lines of an item's tooltip. */
function itemLines(list, item, now) {
  const first = itemWords(list, item);
  if (list === 'wire') return [first, WIRE_ABOUT[item.what] || '', span(item, now)].filter(Boolean);
  if (list === 'bands' && item.reason) return [first, `entered by ${item.reason}`, span(item, now)];
  if (item.from !== undefined) return [first, span(item, now)];
  const until = item.to && item.to - item.at > 0.0005 ? ` to ${clock(item.to)}` : '';
  return [first, `at ${clock(item.at)}${until}`];
}

/** A lane's text alternative: what can be seen of it, summed up. */
function laneWords(lane, now) {
  const state = stateNow(lane);
  const wire = lane.lastWire;
  const end = latestOf(lane.ends);
  const strikes = [...lane.marks.values()].filter((mark) => mark.kind === 'struck');
  const times = strikes.reduce((sum, mark) => sum + (mark.count || 1), 0);
  return [
    `${laneName(lane)}:`,
    state ? `${state.state} (${state.source}) for ${lasting(now - state.from)},` : '',
    lastsStill(wire) ? `connection ${wire.attempt} ${WIRE_WORDS[wire.what] || wire.what},` : 'no connection,',
    `faults struck ${plural(times, 'time')}${strikes.length ? `, last ${strikes[strikes.length - 1].fault}` : ''},`,
    `${plural(lane.ends.size, 'ending')}${end ? `, the last one ${endWords(end)} at ${clock(end.at)}` : ''}`,
  ].filter(Boolean).join(' ');
}
