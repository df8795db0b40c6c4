'use strict';
// A timeline: phases as bands behind all, the axis above, rules by hand and the closed listener, and a row for each lane or group of lanes.

const CALM = matchMedia('(prefers-reduced-motion: reduce)');
const MOVE_PX = 0.4; // less than this can't be seen to move
const DENSITY_MS = 400; // between two drawings of a group, whose every change would draw it
const DENSITY_BUDGET_MS = 6; // of a frame, for groups; those without a turn have it in the next
const COSTS_MAX = 1000;

class Timeline {
  /** `live` says whether time goes on; `actions` makes the buttons of a lane. */
  constructor(root, model, { isLive = false, actions = null } = {}) {
    this.model = model;
    this.actions = actions;
    this.isLive = isLive;
    this.window = new TimeWindow();
    this.window.isEnded = !isLive;
    if (!isLive) this.window.all();
    this.opened = new Set();
    this.rows = new Map();
    this.order = [];
    this.costs = []; // ms that the last drawings took
    this.clockOffset = null;
    this.build(root);
    this.tooltip = new Tooltip(this);
    this.keys = new Keys(this);
    this.see();
  }

  build(root) {
    this.choices = new WindowChoices(this);
    this.axis = new Plot(38, (group, view) => drawAxis(this.model, group, view));
    this.spells = new Plot(22, (group, view) => this.drawSpells(group, view));
    this.behind = new Plot('100%', (group, view) => drawBehind(this.model, group, view));
    this.behind.element.setAttribute('class', 'behind');
    this.nowLine = this.behind.element.appendChild(svg('line', { class: 'now', y1: 0, y2: '100%' }));
    this.foundLine = this.behind.element.appendChild(svg('line', { class: 'found-at', y1: 0, y2: '100%', visibility: 'hidden' }));
    for (const each of [this.axis, this.behind]) each.element.setAttribute('aria-hidden', 'true');
    this.spells.element.setAttribute('role', 'img');
    this.spellsRow = el('div', { className: 'row spells', hidden: true },
      el('div', { className: 'label' }, 'rules'), this.spells.element);
    this.list = el('ol', { className: 'rows', 'aria-label': 'Lanes' });
    this.empty = el('p', { className: 'empty' });
    this.element = el('div', { className: 'timeline' },
      el('div', { className: 'row axis' }, el('div', { className: 'label' }, this.choices.element), this.axis.element),
      el('div', { className: 'body' }, this.behind.element, this.spellsRow, this.list, this.empty));
    root.append(this.element, legend());
  }

  // -- what there is ------------------------------------------------------------------------------------------------

  /** Something was told: `changes` as from Model.take. */
  take(changes) {
    const offset = this.model.now - performance.now() / 1000;
    const isAway = this.clockOffset === null || changes.isNew || Math.abs(offset - this.clockOffset) > 2;
    this.clockOffset = isAway ? offset : Math.max(offset, this.clockOffset); // the answer that came fastest is nearest
    if (changes.isNew) {
      this.opened.clear();
      this.tooltip.hide();
      setAttribute(this.foundLine, 'visibility', 'hidden');
      for (const row of this.rows.values()) row.element.remove();
      this.rows.clear();
    }
    if (changes.haveLanesChanged) this.order = null;
    if (changes.bands) this.axis.isDirty = this.behind.isDirty = true;
    if (changes.spells) this.noteSpells();
    this.hasNews = true;
    this.see();
  }

  get now() {
    if (!this.isLive || this.clockOffset === null) return this.model.now;
    return Math.max(this.model.now, performance.now() / 1000 + this.clockOffset);
  }

  /** Whether time goes on: not where the proxy is gone. */
  setLive(isLive) {
    this.isLive = isLive;
    this.clockOffset = isLive ? this.clockOffset : null;
    this.see();
  }

  noteSpells() {
    this.spells.isDirty = true;
    this.spellsRow.hidden = this.model.spells.size === 0;
  }

  drawSpells(group, view) {
    const { labels, levels } = drawSpellBars(this.model, group, view);
    const height = Math.max(1, levels) * SPELL_HEIGHT + 6;
    setAttribute(this.spells.element, 'height', height);
    setAttribute(this.spells.past, 'height', height);
    const words = [...this.model.spells.values()].filter((each) => each.to === null).map((each) => itemWords('spells', each));
    setAttribute(this.spells.element, 'aria-label', words.length ? `In force: ${words.join('; ')}` : 'None in force now');
    return labels;
  }

  toggle(key) {
    if (!this.opened.delete(key)) this.opened.add(key);
    this.order = null;
    this.hasNews = true;
    this.see();
  }

  arrange() {
    this.order = rowsOf(this.model.ordered().filter((lane) => this.isShown(lane)), this.opened);
    const wanted = new Set();
    let place = this.list.firstElementChild;
    for (const each of this.order) {
      const key = each.lane ? `lane:${each.lane.id}` : each.group.key;
      wanted.add(key);
      const row = this.rows.get(key) || this.makeRow(key, each);
      if (each.group) row.group = each.group;
      else row.element.classList.toggle('below', Boolean(each.below));
      if (row.element === place) place = place.nextElementSibling;
      else this.list.insertBefore(row.element, place);
    }
    for (const [key, row] of this.rows) if (!wanted.has(key)) this.dropRow(key, row);
    this.empty.hidden = this.order.length > 0;
    setText(this.empty, this.isLive ? 'No client has connected yet.' : 'No client has connected in this run.');
    this.keys.settle();
  }

  /** While the present is followed, lanes that were over before it make room; those that are used stay. */
  isShown(lane) {
    if (lane.live || this.window.mode !== 'follow' || lane.lastAt >= this.from) return true;
    const row = this.rows.get(`lane:${lane.id}`);
    return Boolean(row) && row.element.contains(document.activeElement);
  }

  /** See from time to time whether other lanes are to be shown. */
  noteTime(view) {
    this.from = view.from;
    const second = Math.floor(view.from);
    if (second === this.second && this.window.mode === this.modeThen) return;
    Object.assign(this, { second, modeThen: this.window.mode });
    let shown = 0;
    for (const lane of this.model.lanes.values()) shown += this.isShown(lane) ? 1 : 0;
    if (shown !== this.shown) {
      this.order = null;
      this.hasNews = true;
    }
    this.shown = shown;
  }

  makeRow(key, { lane, group }) {
    const row = lane ? new LaneRow(lane, this.actions) : new GroupRow(group, (each) => this.toggle(each));
    this.rows.set(key, row);
    row.element.row = row;
    this.sight.observe(row.element);
    return row;
  }

  dropRow(key, row) {
    this.sight.unobserve(row.element);
    row.element.remove();
    this.rows.delete(key);
  }

  // -- what is seen -------------------------------------------------------------------------------------------------

  /** Watch the plots' width and which rows are on the screen. */
  get sight() {
    if (this.observer) return this.observer;
    this.observer = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.target.row.isSeen = entry.isIntersecting;
      this.see();
    }, { rootMargin: '300px' });
    new ResizeObserver(() => this.see()).observe(this.axis.element);
    for (const kind of ['beforeprint', 'afterprint']) addEventListener(kind, () => this.print(kind === 'beforeprint'));
    return this.observer;
  }

  print(isBegun) {
    for (const row of this.rows.values()) if (isBegun) row.isSeen = true;
    this.frame();
  }

  /** Draw with the next frame. */
  see() {
    clearTimeout(this.timer);
    if (this.isAsked) return;
    this.isAsked = true;
    requestAnimationFrame(() => this.frame());
  }

  view() {
    const width = this.axis.element.clientWidth || 600;
    const now = this.now;
    const { from, to } = this.window.at(now);
    return { from, to, span: to - from, width, pps: width / (to - from), now };
  }

  frame() {
    const begun = performance.now();
    this.isAsked = false;
    if (!this.sight) return;
    const view = this.view();
    this.noteTime(view);
    if (!this.order) this.arrange();
    for (const each of [this.axis, this.behind, this.spells]) each.show(view);
    for (const line of ['x1', 'x2']) setAttribute(this.nowLine, line, ((view.now - view.from) * view.pps).toFixed(1));
    this.showFound(view);
    for (const row of this.rows.values()) {
      if (this.hasNews && row instanceof LaneRow) row.note(view.now);
      if (row instanceof LaneRow && row.isSeen) row.plot.show(view);
    }
    this.hasNews = false;
    const areDone = this.showGroups(view, begun);
    this.choices.show();
    this.costs.push(performance.now() - begun);
    if (this.costs.length > COSTS_MAX) this.costs.shift();
    this.goOn(view, areDone);
  }

  /** Groups take turns, the one that waits longest first. Return whether all that was due is done. */
  showGroups(view, begun) {
    const groups = [...this.rows.values()].filter((row) => row instanceof GroupRow);
    const budget = performance.now() + DENSITY_BUDGET_MS;
    let areDone = true;
    for (const row of groups.sort((one, other) => one.notedAt - other.notedAt)) {
      const isDue = begun - row.notedAt >= DENSITY_MS;
      if (isDue && performance.now() < budget) {
        row.note(view.now);
        row.notedAt = begun;
      } else if (isDue) {
        areDone = false;
      }
      if (row.isSeen) row.plot.show(view);
    }
    return areDone;
  }

  /** While time goes on, draw again once something would be seen to move. */
  goOn(view, areGroupsDone) {
    if (!areGroupsDone) this.see();
    if (!this.isLive || !this.model.run) return;
    const wait = this.window.mode === 'follow' ? (1000 * MOVE_PX) / view.pps : 250;
    const least = CALM.matches ? 1000 : Math.min(wait, 1000);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.see(), least);
  }

  // -- where to look ------------------------------------------------------------------------------------------------

  go(act) {
    act();
    this.tooltip.hide();
    this.see();
  }

  zoom(factor, around = null) {
    this.go(() => this.window.zoom(factor, this.now, around));
  }

  pan(part) {
    this.go(() => this.window.pan(part, this.now));
  }

  /** Show where a journal record stands: its time, its lane, its sign. Return whether it can be seen. */
  jump(seq, record) {
    const found = this.model.find(seq, record);
    if (!found) return false;
    this.go(() => this.window.reveal(found.at, this.now));
    this.foundAt = found.at;
    this.open(found.lane);
    for (const each of this.list.querySelectorAll('.found')) each.classList.remove('found');
    const row = found.lane && this.rows.get(`lane:${found.lane.id}`);
    if (!row) {
      this.element.scrollIntoView({ block: 'start' });
      return true;
    }
    row.element.classList.add('found');
    row.element.scrollIntoView({ block: 'center' });
    row.isSeen = true;
    this.frame();
    this.keys.focusItem(row, found.item);
    return true;
  }

  /** Open the group in which a lane is. */
  open(lane) {
    if (!lane) return;
    const hidden = rowsOf(this.model.ordered(), this.opened).find((each) => each.group && each.group.lanes.includes(lane));
    if (hidden) this.opened.add(hidden.group.key);
    this.order = null;
    this.hasNews = true;
    this.noteTime(this.view());
    this.arrange();
  }

  showFound(view) {
    if (this.foundAt === undefined) return;
    setAttribute(this.foundLine, 'visibility', 'visible');
    for (const line of ['x1', 'x2']) setAttribute(this.foundLine, line, ((this.foundAt - view.from) * view.pps).toFixed(1));
  }
}
