'use strict';
// Which time is looked at: following what is live, all there is, or a place that somebody went to.

const SPAN_MIN_S = 0.05;
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const BEFORE = 0.02; // of the width may be seen before the beginning
const AHEAD = 0.03; // of the width is free behind now, so that what is newest does not touch the edge

class TimeWindow {
  constructor() {
    this.mode = 'follow'; // follow | all | fixed
    this.span = 60;
    this.from = 0;
    this.isEnded = false; // there is nothing to follow
  }

  follow(span) {
    Object.assign(this, { mode: 'follow', span: span || this.span });
  }

  all() {
    this.mode = 'all';
  }

  /** What is seen at a time: {from, to}. While all is shown, the end moves by steps, so that lanes are drawn seldom. */
  at(now) {
    if (this.mode === 'follow' && now < this.span * (1 - AHEAD)) return { from: 0, to: this.span };
    if (this.mode === 'follow') return { from: now - this.span * (1 - AHEAD), to: now + this.span * AHEAD };
    if (this.mode === 'all') {
      if (this.isEnded) return { from: 0, to: Math.max(now, SPAN_MIN_S) * 1.01 };
      const most = Math.max(now, 1) * (1 + AHEAD);
      const step = 10 ** Math.floor(Math.log10(most)) / 4;
      return { from: 0, to: Math.ceil(most / step) * step };
    }
    return { from: this.from, to: this.from + this.span };
  }

  show(from, to) {
    const span = Math.max(SPAN_MIN_S, to - from);
    Object.assign(this, { mode: 'fixed', from: Math.max(from, -BEFORE * span), span });
  }

  /** Move by a part of what is seen; at the newest end it follows again. */
  pan(part, now) {
    const { from, to } = this.at(now);
    const by = part * (to - from);
    if (this.mode === 'follow' && part > 0) return;
    const isAtEnd = part > 0 && to + by >= now + (to - from) * AHEAD && now > 0;
    this.show(from + by, to + by);
    if (isAtEnd && !this.isEnded) this.follow(to - from);
  }

  /** See more (a factor over 1) or less, around a time; around now while following. */
  zoom(factor, now, around = null) {
    const { from, to } = this.at(now);
    const span = Math.min(Math.max((to - from) * factor, SPAN_MIN_S), Math.max(86400, now * 2));
    if (this.mode === 'follow' && around === null) {
      this.follow(span);
      return;
    }
    const center = around === null ? (from + to) / 2 : around;
    const start = center - ((center - from) * span) / (to - from);
    this.show(start, start + span);
  }

  /** Make a time seen, with something around it. */
  reveal(at, now) {
    const { from, to } = this.at(now);
    const span = Math.min(to - from, 60);
    this.show(at - span / 2, at + span / 2);
  }
}

/** The times at which the axis has marks, at most one in `apart` pixels. */
function ticksOf(from, to, width, apart = 90) {
  const least = ((to - from) / Math.max(width, 1)) * apart;
  const step = STEPS.find((each) => each >= least) || Math.ceil(least / 14400) * 14400;
  const ticks = [];
  for (let at = Math.max(0, Math.ceil(from / step)) * step; at <= to; at += step) ticks.push(at);
  return { ticks, step };
}

function tickWords(at, step) {
  if (step >= 1) return minutes(at);
  return minutes(at, step >= 0.1 ? 1 : 2);
}
