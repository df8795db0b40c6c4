'use strict';
// Pointing at what is drawn, by mouse, finger or key: the tooltip, moving and zooming, going from sign to sign.

const NEAR_PX = 24; // a finger's width
const LINES_MAX = 9;

class Tooltip {
  constructor(timeline) {
    this.timeline = timeline;
    this.element = el('div', { className: 'tip', role: 'tooltip', hidden: true });
    timeline.element.append(this.element);
    const root = timeline.element;
    root.addEventListener('pointerover', (event) => this.hover(event));
    root.addEventListener('pointerleave', () => this.leave());
    root.addEventListener('focusin', (event) => this.focus(event.target));
    root.addEventListener('focusout', () => this.hide());
    root.addEventListener('click', (event) => this.tap(event));
    addEventListener('keydown', (event) => event.key === 'Escape' && this.hide());
    addEventListener('scroll', () => this.hide(), { passive: true });
  }

  hover(event) {
    if (event.pointerType === 'touch' || this.element.contains(event.target)) return;
    const target = this.targetOf(event.target);
    if (target) this.show(target, event.clientX);
    else this.leave();
  }

  /** It stays for a moment, so that the pointer can go onto it. */
  leave() {
    clearTimeout(this.leaving);
    this.leaving = setTimeout(() => this.element.matches(':hover') || this.hide(), 120);
  }

  focus(element) {
    const target = this.targetOf(element);
    if (target && target.classList.contains('sign')) this.show(target);
  }

  tap(event) {
    const target = this.targetOf(event.target);
    const plot = event.target.closest('.plot');
    const near = plot && nearestSign(plot, event.clientX);
    if (near || target) this.show(near || target, near ? undefined : event.clientX);
  }

  targetOf(element) {
    for (let each = element; each && each !== this.timeline.element; each = each.parentNode) {
      if (shownBy.has(each)) return each;
    }
    return null;
  }

  show(target, x) {
    clearTimeout(this.leaving);
    if (target === this.target && !this.element.hidden) return;
    this.target = target;
    const { list, lists, items } = shownBy.get(target);
    const now = this.timeline.now;
    const lines = items.flatMap((item, index) => itemLines(lists ? lists[index] : list, item, now));
    const more = lines.length - LINES_MAX;
    this.element.replaceChildren(...lines.slice(0, LINES_MAX).map((line, index) => (
      el('div', { textContent: line, className: index % 2 && items.length === 1 ? 'minor' : '' }))));
    if (more > 0) this.element.append(el('div', { textContent: `and ${more} more lines`, className: 'minor' }));
    this.element.hidden = false;
    this.place(target.getBoundingClientRect(), x);
  }

  place(box, x) {
    const own = this.element.getBoundingClientRect();
    const left = Math.max(8, Math.min((x === undefined ? box.left : x) - 12, innerWidth - own.width - 8));
    const isBelow = box.top - own.height - 8 < 0;
    this.element.style.left = `${left}px`;
    this.element.style.top = `${isBelow ? box.bottom + 8 : box.top - own.height - 8}px`;
  }

  hide() {
    this.element.hidden = true;
    this.target = null;
  }
}

function nearestSign(plot, x) {
  let best = null;
  let least = NEAR_PX;
  for (const sign of plot.querySelectorAll('.sign')) {
    const box = sign.querySelector('.hit').getBoundingClientRect();
    const away = Math.max(0, box.left - x, x - box.right);
    if (away < least) [best, least] = [sign, away];
  }
  return best;
}

/** Keys on the lanes, and dragging. One lane can be reached by Tab; arrows go on from there. */
class Keys {
  constructor(timeline) {
    this.timeline = timeline;
    timeline.list.addEventListener('keydown', (event) => this.press(event));
    timeline.list.addEventListener('focusin', (event) => {
      const plot = event.target.closest('.lane .plot');
      if (plot) this.settle(plot);
    });
    const body = timeline.element;
    body.addEventListener('pointerdown', (event) => this.grab(event));
    body.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
  }

  plots() {
    return [...this.timeline.list.querySelectorAll('.lane > .plot')];
  }

  /** Let one lane be the one that Tab comes to. */
  settle(wanted) {
    if (!wanted && this.current && this.current.isConnected) return;
    const next = wanted || this.timeline.list.querySelector('.lane > .plot');
    if (this.current) this.current.setAttribute('tabindex', '-1');
    if (next) next.setAttribute('tabindex', '0');
    this.current = next;
  }

  press(event) {
    const plot = event.target.closest('.plot');
    if (!plot || event.ctrlKey || event.metaKey || event.altKey) return;
    const { timeline } = this;
    const act = {
      ArrowLeft: () => timeline.pan(-0.2),
      ArrowRight: () => timeline.pan(0.2),
      '+': () => timeline.zoom(0.5),
      '=': () => timeline.zoom(0.5),
      '-': () => timeline.zoom(2),
      Home: () => timeline.go(() => timeline.window.show(0, timeline.view().span)),
      End: () => timeline.go(() => (timeline.isLive ? timeline.window.follow() : timeline.window.all())),
      ArrowUp: () => this.goLane(plot, -1),
      ArrowDown: () => this.goLane(plot, 1),
      ',': () => this.goSign(plot, event.target, -1),
      '.': () => this.goSign(plot, event.target, 1),
      Escape: () => plot.focus(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  goLane(plot, by) {
    const plots = this.plots();
    const next = plots[plots.indexOf(plot) + by];
    if (next) next.focus();
  }

  /** Go to the next sign of this lane, also to one that is out of sight. */
  goSign(plot, from, by) {
    const { row } = plot.parentNode;
    const { lane } = row;
    const all = [...within(lane.marks, EVER), ...within(lane.ends, EVER)].sort((one, other) => one.at - other.at);
    const shown = shownBy.get(from.closest('.sign') || plot);
    const { from: left, to: right } = this.timeline.view();
    const center = this.timeline.window.mode === 'fixed' ? (left + right) / 2 : by > 0 ? left : this.timeline.now;
    const at = shown ? (by > 0 ? Math.max : Math.min)(...shown.items.map((item) => item.at)) : center;
    const behind = (item) => (by > 0 ? item.at > at : item.at < at) && !(shown && shown.items.includes(item));
    const next = by > 0 ? all.find(behind) : all.reverse().find(behind);
    if (!next) return;
    if (next.at < left || next.at > right) this.timeline.go(() => this.timeline.window.reveal(next.at, this.timeline.now));
    this.timeline.frame();
    this.focusItem(row, next);
  }

  focusItem(row, item) {
    const signs = [...row.plot.element.querySelectorAll('.sign')];
    const sign = item && signs.find((each) => shownBy.get(each).items.includes(item));
    (sign || row.plot.element).focus({ preventScroll: true });
  }

  // -- dragging -----------------------------------------------------------------------------------------------------

  grab(event) {
    if (event.button !== 0 || event.pointerType === 'touch' || !event.target.closest('.plot')) return;
    const { timeline } = this;
    const begun = timeline.view();
    let hasMoved = false;
    const move = (moved) => {
      const by = (event.clientX - moved.clientX) / begun.pps;
      if (!hasMoved && Math.abs(moved.clientX - event.clientX) < 4) return;
      hasMoved = true;
      timeline.element.classList.add('dragging');
      timeline.go(() => timeline.window.show(begun.from + by, begun.to + by));
    };
    const drop = () => {
      removeEventListener('pointermove', move);
      timeline.element.classList.remove('dragging');
    };
    addEventListener('pointermove', move);
    addEventListener('pointerup', drop, { once: true });
    addEventListener('pointercancel', drop, { once: true });
  }

  /** The wheel zooms with Ctrl, as pinching does, and moves sideways; else the page scrolls. */
  wheel(event) {
    const { timeline } = this;
    const view = timeline.view();
    if (event.ctrlKey) {
      const { left } = timeline.axis.element.getBoundingClientRect();
      timeline.zoom(Math.exp(event.deltaY / 200), view.from + (event.clientX - left) / view.pps);
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      timeline.pan(event.deltaX / view.width);
    } else {
      return;
    }
    event.preventDefault();
  }
}

const EVER = { drawnFrom: -Infinity, drawnTo: Infinity };
