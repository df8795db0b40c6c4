'use strict';
// The rows of a timeline. Each has a label and a plot; what it draws stands in a group that moves with time, and is
// drawn anew only when its content or the scale has changed.

/** A plot: `past` is cut at now; `moving` in it, and `free` before it, have their origin at a time. */
class Plot {
  constructor(height, draw) {
    this.draw = draw;
    this.moving = svg('g');
    this.free = svg('g');
    this.past = svg('svg', { height, y: 0, x: 0, width: 0, class: 'past' }, this.moving);
    this.pinned = [];
    this.element = svg('svg', { class: 'plot', height }, this.past, this.free);
    this.labels = [];
    this.isDirty = true;
  }

  /** Bring it to what is to be seen now. */
  show(view) {
    const away = this.isDirty || this.pps !== view.pps || Math.abs(view.from - this.origin) > view.span * 0.8;
    if (away) {
      this.origin = view.from;
      this.pps = view.pps;
      this.labels = this.draw(this.moving, {
        ...view, origin: this.origin, drawnFrom: view.from - view.span, drawnTo: view.to + view.span,
      }, this.free);
      this.isDirty = false;
      this.shift = null;
    }
    const shift = ((this.origin - view.from) * view.pps).toFixed(2);
    if (shift !== this.shift) {
      this.shift = shift;
      for (const each of [this.moving, this.free]) each.setAttribute('transform', `translate(${shift} 0)`);
      this.pin(view);
    }
    const past = Math.max(0, Math.min(view.width, (view.now - view.from) * view.pps)).toFixed(1);
    if (past !== this.pastWidth) {
      this.pastWidth = past;
      this.past.setAttribute('width', past);
    }
  }

  /** What began before the left edge has its label at the edge, as long as there is room for it. */
  pin(view) {
    const crossing = this.labels.filter((each) => {
      const right = Math.min(each.to === null ? view.now : each.to, view.to);
      const isCut = each.from < view.from && right > view.from;
      if (each.element) setAttribute(each.element, 'visibility', isCut ? 'hidden' : 'visible');
      return isCut && (right - view.from) * view.pps >= each.needed;
    });
    crossing.slice(0, 4).forEach((each, index) => {
      const text = this.pinned[index] || this.element.appendChild(svg('text', { x: 4 }));
      this.pinned[index] = text;
      setText(text, each.text);
      setAttribute(text, 'y', each.y);
      setAttribute(text, 'class', each.className);
    });
    for (const left of this.pinned.slice(crossing.length)) setText(left, '');
  }
}

/** A lane: one client's connections, one after the other. */
class LaneRow {
  constructor(lane, actions) {
    this.lane = lane;
    this.key = `lane:${lane.id}`;
    this.plot = new Plot(HEIGHT, (group, view, free) => this.redraw(group, view, free));
    this.plot.element.setAttribute('role', 'group');
    this.plot.element.setAttribute('tabindex', '-1');
    this.name = el('strong');
    this.attempt = el('span', { className: 'attempt' });
    this.status = el('span', { className: 'status' });
    this.path = el('span', { className: 'path' });
    this.actions = actions ? actions(lane) : null;
    this.element = el('li', { className: 'row lane' },
      el('div', { className: 'label' },
        el('div', { className: 'names' }, el('div', {}, this.name, this.attempt), el('div', {}, this.status, this.path)),
        this.actions && this.actions.element),
      this.plot.element);
    this.element.dataset.lane = lane.id;
    this.revision = -1;
  }

  redraw(group, view, free) {
    const focused = free.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const labels = drawLane(this.lane, group, view, free);
    if (focused) {
      const again = [...free.querySelectorAll('.sign')].find((each) => each.dataset.key === focused);
      (again || this.plot.element).focus({ preventScroll: true });
    }
    return labels;
  }

  note(now) {
    const { lane } = this;
    if (this.revision === lane.revision) return;
    this.revision = lane.revision;
    this.plot.isDirty = true;
    const state = stateNow(lane);
    const wire = wireNow(lane);
    setText(this.name, laneName(lane));
    setText(this.attempt, lane.attempt ? ` #${lane.attempt}` : '');
    setText(this.status, state ? state.state : wire ? WIRE_WORDS[wire] || wire : 'gone');
    this.status.className = `status ${state ? `dot ${STATE_CLASSES[state.state] || 'other'} ${state.source}` : ''}`;
    setText(this.path, lane.path || '');
    this.path.title = lane.path || '';
    this.element.classList.toggle('gone', !lane.live);
    this.element.dataset.wire = wire;
    this.element.dataset.state = state ? state.state : '';
    this.plot.element.setAttribute('aria-label', laneWords(lane, now));
    if (this.actions) this.actions.update(lane, wire);
  }
}

/** Lanes as one row, which opens. */
class GroupRow {
  constructor(group, toggle) {
    this.group = group;
    this.key = group.key;
    this.plot = new Plot(HEIGHT, (into, view) => drawDensity(this.group.lanes, into, view));
    this.plot.element.setAttribute('role', 'img');
    this.button = el('button', { type: 'button', className: 'toggle', onclick: () => toggle(this.key) });
    this.status = el('span', { className: 'status' });
    this.element = el('li', { className: 'row group' },
      el('div', { className: 'label' }, el('div', { className: 'names' }, this.button, this.status)), this.plot.element);
    this.revision = -1;
    this.notedAt = -Infinity;
  }

  note(now) {
    const { group } = this;
    const revision = group.lanes.reduce((sum, lane) => sum + lane.revision, group.lanes.length);
    if (this.revision === revision && this.isOpen === group.isOpen) return;
    const words = densityWords(group.lanes, now);
    this.isOpen = group.isOpen;
    this.revision = revision;
    this.plot.isDirty = true;
    setText(this.button, group.title);
    this.button.title = group.title;
    setAttribute(this.button, 'aria-expanded', group.isOpen);
    setText(this.status, words);
    this.plot.element.setAttribute('aria-label', `${group.title}, ${words}`);
  }
}

const CLIENT_LANES_MAX = 8; // with more, a client is one row
const ROWS_MAX = 40; // with more, rows are put together
const CHUNK = 50;

/** Which rows there are: lanes, and groups in place of many, with the lanes of those that are open behind them. */
function rowsOf(lanes, opened) {
  const byClient = new Map();
  for (const lane of lanes) {
    if (!byClient.has(lane.client)) byClient.set(lane.client, []);
    byClient.get(lane.client).push(lane);
  }
  const rows = [];
  for (const [client, own] of byClient) {
    if (own.length <= CLIENT_LANES_MAX) rows.push(...own.map((lane) => ({ lane })));
    else rows.push(...grouped(`client:${client}`, `${own.length} · ${client || 'connections'}`, own, opened));
  }
  if (rows.filter((row) => row.lane && !row.below).length <= ROWS_MAX) return rows;
  return chunked(rows, opened);
}

function grouped(key, title, lanes, opened) {
  const isOpen = opened.has(key);
  const group = { key, title, lanes, isOpen };
  return [{ group }, ...(isOpen ? lanes : []).map((lane) => ({ lane, below: group }))];
}

function chunked(rows, opened) {
  const single = rows.filter((row) => row.lane && !row.below).map((row) => row.lane);
  const chunks = rows.filter((row) => !row.lane || row.below);
  for (let first = 0; first < single.length; first += CHUNK) {
    const lanes = single.slice(first, first + CHUNK);
    const ends = `${laneName(lanes[0])} … ${laneName(lanes[lanes.length - 1])}`;
    chunks.push(...grouped(`chunk:${first / CHUNK}`, `${lanes.length} · ${ends}`, lanes, opened));
  }
  return chunks;
}
