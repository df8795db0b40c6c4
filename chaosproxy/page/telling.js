'use strict';
// What the page tells: the last events as a list, and the most notable of them to screen readers, not too often.

const LOG_MAX = 60;
const LOG_AT_ONCE = 15;
const SAY_EVERY_MS = 5000;
const SAID_MAX = 3;
const TROUBLED = new Set(['unavailable', 'failed', 'lost', 'disconnected']);

/** Whether an item is news for people, and in which words. Strikes on messages are in the lanes only. */
function newsOf({ lane, list, item, before }) {
  const words = itemWords(list, item);
  const who = lane ? laneName(lane) : '';
  switch (list) {
    case 'bands': return before ? null : { words: words + (item.reason ? ` (${item.reason})` : ''), rank: 0 };
    case 'spells': return before && before.to === item.to ? null : { words, at: item.to === null ? item.from : item.to, rank: 1 };
    case 'states': return before ? null : { words: `${who} ${item.state} (${item.source})`, rank: TROUBLED.has(item.state) ? 1 : 2 };
    case 'ends': return before ? null : { words: `${who}: ${words}` };
    case 'marks': return before || (item.kind === 'struck' && item.message) || item.kind === 'healed'
      ? null : { words: `${who}: ${words}` };
    default: return null;
  }
}

class Log {
  constructor(root, jump) {
    this.root = root;
    this.jump = jump;
  }

  clear() {
    this.root.replaceChildren();
  }

  take(news) {
    const shown = news.slice(-LOG_AT_ONCE);
    const lines = shown.map((each) => this.line(each)).reverse();
    if (shown.length < news.length) lines.push(el('li', { className: 'minor', textContent: `… and ${news.length - shown.length} more` }));
    this.root.prepend(...lines);
    while (this.root.children.length > LOG_MAX) this.root.lastElementChild.remove();
  }

  line({ at, words, seq }) {
    return el('li', {}, el('button', {
      type: 'button', className: 'link', textContent: clock(at, 1), 'aria-label': `Show in the lanes: ${clock(at, 1)}`,
      onclick: () => this.jump(seq, null),
    }), el('span', { textContent: words }));
  }
}

/** Sentences for a live region. What comes within a few seconds is said together, the most notable of it. */
class Voice {
  constructor(root) {
    this.root = root;
    this.waiting = [];
    this.saidAt = -Infinity;
  }

  take(news) {
    this.waiting.push(...news.filter((each) => each.rank !== undefined));
    if (!this.waiting.length || this.timer) return;
    const wait = Math.max(300, this.saidAt + SAY_EVERY_MS - performance.now());
    this.timer = setTimeout(() => this.say(), wait);
  }

  say() {
    this.timer = null;
    this.saidAt = performance.now();
    const waiting = this.waiting.splice(0).sort((one, other) => one.rank - other.rank);
    const words = waiting.slice(0, SAID_MAX).map((each) => each.words);
    const more = waiting.length - words.length;
    setText(this.root, words.join('. ') + (more ? `. ${plural(more, 'more change')}` : ''));
  }
}

/** News of what has changed, in order of time. */
function allNews(changes) {
  const news = changes.items.map((each) => {
    const found = newsOf(each);
    return found && { at: startOf(each.item), seq: each.item.seq, ...found };
  });
  return news.filter(Boolean).sort((one, other) => one.at - other.at);
}
