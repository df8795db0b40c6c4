'use strict';
// One lane as SVG: signs of what happened above, the client's own state in the middle, the wire below. Each function
// draws into a group whose origin is a time, so that following it live is one transform and no drawing.

const HEIGHT = 52;
const SIGNS_Y = 9;
const STATE = { y: 18, height: 14 };
const WIRE = { y: 35, height: 12 };
const PUSH_MAX = 16; // px that a sign may stand beside its time; then it joins the one before it

const measured = new Map();
/** How wide a text is, set in bold like a pill's, with digits as wide as each other. */
function widthOf(text) {
  if (!measured.has(text)) {
    const context = document.createElement('canvas').getContext('2d');
    context.font = `600 10px ${getComputedStyle(document.body).fontFamily}`;
    measured.set(text, context.measureText(text.replace(/\d/g, '0')).width);
  }
  return measured.get(text);
}

/** How wide a letter of a label is, about. */
const letter = () => widthOf('established 1006') / 16;

const STATE_CLASSES = {
  connected: 'good', connecting: 'wait', initialized: 'wait', lost: 'wait', unavailable: 'down', failed: 'down',
};
const SIGNS = {
  struck: 'M0-5.5L5.5 0 0 5.5-5.5 0z',
  healed: 'M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0',
  suppressed: 'M0-5.5L5.5 0 0 5.5-5.5 0zM-4.5 4.5L4.5-4.5',
  said: 'M-3.5 6V-5.5H5L2.6-2.2 5 1H-3.5',
  limited: 'M-4-4.5h3v9h-3zM1-4.5h3v9h-3z',
  ends: 'M-4.5-4.5h9L0 4z',
};

/** What an element shows: {list, items, lane}. */
const shownBy = new WeakMap();

/** The items of a list of which something can be seen in the drawn part, in order of time. */
function within(items, view) {
  const seen = [];
  for (const item of items.values()) {
    const from = startOf(item);
    const to = item.to === null ? Infinity : Math.max(item.to || from, from);
    if (to >= view.drawnFrom && from <= view.drawnTo) seen.push(item);
  }
  return seen.sort((one, other) => startOf(one) - startOf(other));
}

const placeOf = (at, view) => (at - view.origin) * view.pps;

/** A stretch's left edge and width in px; what lasts still is drawn on to the edge, and cut at now. */
function stretch(item, view) {
  const from = Math.max(item.from, view.drawnFrom - 1);
  const to = item.to === null ? view.drawnTo : Math.min(item.to, view.drawnTo + 1);
  const x = placeOf(from, view);
  return { x, width: Math.max(1.5, placeOf(to, view) - x) };
}

function bar(item, { x, width }, { y, height }, className, pattern) {
  const shape = { x: x.toFixed(2), y, width: width.toFixed(2), height };
  const parts = [svg('rect', { ...shape, class: className, rx: width > 4 ? 1.5 : 0 })];
  if (pattern) parts.push(svg('rect', { ...shape, fill: `url(#${pattern})`, class: 'pattern' }));
  return parts;
}

/** A text (of several the first with room) within a stretch, kept in mind with its ends so that it can be shown at the left edge too. */
function label(texts, item, { x, width }, y, className, labels) {
  const all = [texts].flat();
  const text = all.find((each) => each.length * letter() + 8 <= width) || all[all.length - 1];
  const needed = text.length * letter() + 8;
  const element = width >= needed ? svg('text', { x: (x + 4).toFixed(2), y, class: className }) : null;
  if (element) element.textContent = text;
  labels.push({ text, from: item.from, to: item.to, needed, y, className, element });
  return element ? [element] : [];
}

function drawStates(lane, view, labels) {
  const bars = [];
  const texts = [];
  const rank = (item) => (item.source === 'reported' ? 1 : 0);
  for (const item of within(lane.states, view).sort((one, other) => rank(one) - rank(other))) {
    const place = stretch(item, view);
    const kind = STATE_CLASSES[item.state] || 'other';
    const className = `state ${kind} ${item.source === 'reported' ? 'reported' : 'inferred'}`;
    const pattern = { wait: 'hatch-wait', down: 'hatch-down' }[kind];
    const drawn = bar(item, place, STATE, className, pattern);
    drawn.forEach((each) => shownBy.set(each, { list: 'states', items: [item], lane }));
    bars.push(...drawn);
    texts.push(...label(item.state, item, place, STATE.y + 10.5, `on-${className}`, labels));
  }
  return [...bars, ...texts];
}

function drawWire(lane, view, labels) {
  const parts = [];
  let edge = -Infinity;
  for (const item of within(lane.wire, view)) {
    const place = stretch(item, view);
    if (place.x + place.width <= edge + 0.5) continue; // nothing of it would be seen beside the one before
    edge = place.x + place.width;
    const pattern = { silent: 'hatch-silent', dialling: 'dots-dialling' }[item.what];
    const drawn = bar(item, place, WIRE, `wire ${item.what}`, pattern);
    drawn.forEach((each) => shownBy.set(each, { list: 'wire', items: [item], lane }));
    parts.push(...drawn, ...label(item.what, item, place, WIRE.y + 9.5, `on-wire on-${item.what}`, labels));
  }
  return parts;
}

/** Signs in the order of time, each where it belongs or pushed a little; those without room join the one before. */
function arrange(signs) {
  const placed = [];
  let edge = -Infinity;
  for (const sign of signs) {
    const x = Math.max(sign.x, edge + sign.before + 1);
    const last = placed[placed.length - 1];
    if (last && (x - sign.x > PUSH_MAX || (last.kind === sign.kind && x !== sign.x && sign.kind !== 'ends'))) {
      last.items.push(sign.item);
      last.lists.push(sign.list);
      edge = Math.max(edge, last.x + last.after + 10);
      continue;
    }
    placed.push({ ...sign, x, items: [sign.item], lists: [sign.list] });
    edge = x + sign.after;
  }
  placed.forEach((sign, index) => {
    const next = placed[index + 1];
    sign.room = next ? next.x - next.before - sign.x - sign.after : Infinity;
  });
  return placed;
}

function signsOf(lane, view) {
  const marks = within(lane.marks, view).map((item) => (
    { list: 'marks', item, kind: item.kind, x: placeOf(item.at, view), before: 6, after: 6 }
  ));
  const ends = within(lane.ends, view).map((item) => (
    { list: 'ends', item, kind: 'ends', x: placeOf(item.at, view), before: 1, after: widthOf(endLetters(item)) + 7 }
  ));
  return arrange([...marks, ...ends].sort((one, other) => one.x - other.x || one.item.seq - other.item.seq));
}

/** How much stands behind a sign that is more than one thing. */
function countOf(sign) {
  if (sign.kind === 'struck' && sign.items.every((item) => item.kind === 'struck')) {
    const count = sign.items.reduce((sum, item) => sum + (item.count || 1), 0);
    return count > 1 ? `×${count}` : '';
  }
  return sign.items.length > 1 ? `+${sign.items.length - 1}` : '';
}

function drawSign(sign, lane, view) {
  const words = sign.items.map((item, index) => `${itemWords(sign.lists[index], item)}, at ${clock(startOf(item))}`);
  const isEnd = sign.kind === 'ends';
  const group = svg('g', {
    class: `sign ${isEnd ? 'end' : sign.kind}`, tabindex: -1, role: 'img',
    'aria-label': words.slice(0, 8).join('; ') + (words.length > 8 ? `; and ${words.length - 8} more` : ''),
    transform: `translate(${sign.x.toFixed(2)} ${SIGNS_Y})`, 'data-key': `${sign.list}:${sign.item.seq}`,
  });
  const letters = isEnd ? endLetters(sign.item) : '';
  const away = (placeOf(startOf(sign.item), view) - sign.x).toFixed(2);
  const width = isEnd ? widthOf(letters) + 7 : 12;
  if (isEnd) {
    group.append(
      // The line stands at its time, wherever there was room for the letters.
      svg('path', { class: 'cap', d: `M0-7H${away}V${WIRE.y + WIRE.height - SIGNS_Y + 1}` }),
      svg('rect', { class: 'pill', x: 0, y: -7, width: width.toFixed(1), height: 13, rx: 1.5 }),
    );
    group.append(textAt(letters, 3.5, 3.2, 'letters'));
  } else {
    const lasts = sign.item.to ? (sign.item.to - sign.item.at) * view.pps : 0;
    if (lasts > 8) group.append(svg('path', { class: 'lasting', d: `M0 0H${lasts.toFixed(1)}` }));
    group.append(svg('path', { class: 'glyph', d: SIGNS[sign.kind] || SIGNS.said }));
  }
  group.append(svg('rect', { class: 'hit', x: isEnd ? -3 : -9, y: -9, width: width + 6, height: 18 }));
  const count = countOf(sign);
  if (count && count.length * letter() <= sign.room - 1) group.append(textAt(count, isEnd ? width + 2 : 7.5, 3.5, 'count'));
  shownBy.set(group, { lists: sign.lists, items: sign.items, lane });
  return group;
}

function textAt(text, x, y, className) {
  const element = svg('text', { x, y, class: className });
  element.textContent = text;
  return element;
}

/** Draw a whole lane, its signs into a group that is not cut at now; return its labels. */
function drawLane(lane, group, view, free) {
  const labels = [];
  group.replaceChildren(...drawWire(lane, view, labels), ...drawStates(lane, view, labels));
  free.replaceChildren(...signsOf(lane, view).map((sign) => drawSign(sign, lane, view)));
  return labels;
}
