'use strict';
// What stands around and behind the lanes: the axis with the names of phases, their bands, rules by hand, the legend.

const SPELL_HEIGHT = 17;
const TINTS = 6;

/** The tint of a phase: the same one for each visit of it. */
function tintsOf(model) {
  const tints = new Map();
  for (const band of model.bands.values()) if (!tints.has(band.phase)) tints.set(band.phase, tints.size % TINTS);
  return tints;
}

function drawAxis(model, group, view) {
  const labels = [];
  const parts = [];
  const tints = tintsOf(model);
  for (const band of within(model.bands, view)) {
    if (!band.phase) continue;
    const place = stretch(band, view);
    const shown = svg('rect', { x: place.x.toFixed(2), y: 0, width: place.width.toFixed(2), height: 19, class: `band tint-${tints.get(band.phase)}` });
    shownBy.set(shown, { list: 'bands', items: [band], lane: null });
    parts.push(shown, svg('path', { class: 'edge', d: `M${place.x.toFixed(2)} 0V38` }), ...label(band.phase, band, place, 13.5, 'phase', labels));
  }
  const { ticks, step } = ticksOf(view.drawnFrom, view.drawnTo, view.width * 3);
  for (const at of ticks) {
    const x = placeOf(at, view).toFixed(2);
    parts.push(svg('path', { class: 'tick', d: `M${x} 33V38` }), textAt(tickWords(at, step), x, 30.5, at ? 'time' : 'time first'));
  }
  group.replaceChildren(...parts);
  return labels;
}

/** Bands of phases and lines of time behind all rows. */
function drawBehind(model, group, view) {
  const tints = tintsOf(model);
  const parts = [];
  for (const band of within(model.bands, view)) {
    if (!band.phase) continue;
    const { x, width } = stretch(band, view);
    parts.push(svg('rect', { x: x.toFixed(2), y: 0, width: width.toFixed(2), height: '100%', class: `band tint-${tints.get(band.phase)}` }));
    parts.push(svg('line', { x1: x.toFixed(2), x2: x.toFixed(2), y1: 0, y2: '100%', class: 'edge' }));
  }
  for (const at of ticksOf(view.drawnFrom, view.drawnTo, view.width * 3).ticks) {
    const x = placeOf(at, view).toFixed(2);
    parts.push(svg('line', { x1: x, x2: x, y1: 0, y2: '100%', class: 'grid' }));
  }
  group.replaceChildren(...parts);
  return [];
}

/** Rules by hand as strips, side by side where they overlap. */
function drawSpellBars(model, group, view) {
  const labels = [];
  const parts = [];
  const ends = []; // of the last strip on each level
  for (const spell of within(model.spells, view)) {
    let level = ends.findIndex((end) => end <= spell.from);
    if (level < 0) level = ends.length;
    ends[level] = spell.to === null ? Infinity : spell.to;
    const place = stretch(spell, view);
    const y = 3 + level * SPELL_HEIGHT;
    const [shown] = bar(spell, place, { y, height: SPELL_HEIGHT - 3 }, 'spell');
    shownBy.set(shown, { list: 'spells', items: [spell], lane: null });
    const text = spell.rule ? [`${spell.fault} · ${spell.rule}`, spell.fault] : spell.fault;
    parts.push(shown, ...label(text, spell, place, y + 10.5, 'on-spell', labels));
  }
  group.replaceChildren(...parts);
  return { labels, levels: ends.length };
}

const SPANS = [['60 s', 60], ['5 min', 300]];

/** The buttons for which time is seen. What is over has nothing to be followed. */
class WindowChoices {
  constructor(timeline) {
    this.timeline = timeline;
    const { window } = timeline;
    const button = (text, label, act) => el('button', { type: 'button', textContent: text, 'aria-label': label, onclick: act });
    const spans = timeline.isLive ? SPANS : [];
    this.choices = [
      ...spans.map(([text, span]) => [span, button(text, `Follow the last ${text}`, () => timeline.go(() => window.follow(span)))]),
      ['all', button('all', 'Show all of the run', () => timeline.go(() => window.all()))],
    ];
    this.element = el('div', { className: 'windows', role: 'group', 'aria-label': 'Time window' },
      ...this.choices.map(([, each]) => each),
      button('−', 'Zoom out', () => timeline.zoom(2)), button('+', 'Zoom in', () => timeline.zoom(0.5)));
  }

  /** Show which one is in force. */
  show() {
    const { mode, span } = this.timeline.window;
    const chosen = mode === 'follow' ? span : mode;
    for (const [choice, button] of this.choices) setAttribute(button, 'aria-pressed', choice === chosen);
  }
}

const LEGEND = [
  ['state', 'good reported', '', 'connected'], ['state', 'wait reported', 'hatch-wait', 'connecting'],
  ['state', 'down reported', 'hatch-down', 'unavailable'], ['state', 'good inferred', '', 'pale: inferred from the wire'],
  ['wire', 'dialling', 'dots-dialling', 'dialling'], ['wire', 'open', '', 'open'], ['wire', 'established', '', 'established'],
  ['wire', 'silent', 'hatch-silent', 'silent'],
];
const SIGN_LEGEND = [
  ['struck', 'a fault struck'], ['healed', 'healed'], ['suppressed', 'could not act'], ['said', 'the app said'],
  ['limited', 'buffers full'],
];

/** What the colours, hatches and signs mean. */
function legend() {
  const entry = (picture, words) => el('li', {}, picture, el('span', { textContent: words }));
  const frame = (...parts) => svg('svg', { width: 22, height: 14, 'aria-hidden': 'true' }, ...parts);
  const bars = LEGEND.map(([kind, className, pattern, words]) => entry(frame(
    ...bar(null, { x: 0, width: 22 }, { y: 1, height: 12 }, `${kind} ${className}`, pattern)), words));
  const signs = SIGN_LEGEND.map(([kind, words]) => entry(frame(
    svg('g', { class: `sign ${kind}`, transform: 'translate(11 7)' }, svg('path', { class: 'glyph', d: SIGNS[kind] }))), words));
  const end = entry(frame(svg('g', { class: 'sign end', transform: 'translate(0 7)' },
    svg('rect', { class: 'pill', x: 0.5, y: -6.5, width: 21, height: 13, rx: 1.5 }), textAt('1006', 1.5, 3, 'letters small'))), 'closed, by its code');
  return el('details', { className: 'legend', open: innerWidth > 640 }, el('summary', { textContent: 'Legend' }),
    el('ul', {}, ...bars, ...signs, end));
}
