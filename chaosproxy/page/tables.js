'use strict';
// The verdict, row by row with its evidence, and all that is drawn as a table.

const OUTCOMES = {
  passed: ['✓', 'passed', 'good'], holds: ['✓', 'holds', 'good'], open: ['…', 'open', 'wait'], failed: ['✕', 'failed', 'down'],
};
const TABLE_ROWS_MAX = 500;

/** What a record says, in one line. */
function recordWords(record) {
  const rest = Object.entries(record).filter(([key, value]) => (
    !['seq', 'at', 'event'].includes(key) && (value || isNumber(value))));
  const fields = rest.map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return `#${record.seq} ${clock(record.at)} ${record.event} ${fields.join(' ')}`.trim();
}

class VerdictTable {
  /** `jump` shows where a record stands. */
  constructor(root, jump) {
    this.root = root;
    this.jump = jump;
    this.open = new Set(); // names of rows whose evidence is shown
  }

  show(verdict, heading = 'Verdict') {
    const told = JSON.stringify(verdict);
    if (told === this.told) return;
    this.told = told;
    const isOver = verdict.finished !== false;
    const summary = verdict.passed ? (isOver ? 'passed' : 'passed so far') : isOver ? 'failed' : 'not passed yet';
    const kind = verdict.passed ? 'good' : isOver ? 'down' : 'wait';
    this.root.replaceChildren(
      el('h2', {}, heading, ' ', el('span', { className: `chip ${kind}`, textContent: summary })),
      el('table', { className: 'verdict' },
        el('thead', {}, el('tr', {}, ...['Outcome', 'Expected', 'Seen', 'Evidence'].map((text) => (
          el('th', { scope: 'col', textContent: text }))))),
        el('tbody', {}, ...verdict.rows.map((row) => this.row(row)))));
  }

  row(row) {
    const [sign, words, kind] = OUTCOMES[row.outcome] || ['?', row.outcome, 'wait'];
    const records = el('div', { className: 'records', hidden: true });
    const links = (row.evidence || []).map((record) => el('button', {
      type: 'button', className: 'link', textContent: `#${record.seq}`,
      'aria-label': `Show record ${record.seq}, ${record.event} at ${clock(record.at)}`, title: recordWords(record),
      onclick: () => this.showRecord(records, record),
    }));
    const title = row.about ? `${row.name} (${row.about})` : row.name;
    return el('tr', { className: row.outcome },
      el('td', {}, el('span', { className: `chip ${kind}`, textContent: `${sign} ${words}` })),
      el('th', { scope: 'row', textContent: title }),
      el('td', { textContent: row.seen }),
      el('td', {}, el('div', { className: 'links' }, ...links), records));
  }

  showRecord(place, record) {
    for (const each of this.root.querySelectorAll('.records')) each.hidden = each !== place;
    const isSeen = this.jump(record.seq, record);
    place.replaceChildren(el('code', { textContent: recordWords(record) }),
      ...(isSeen ? [] : [el('div', { className: 'minor', textContent: 'It is not in the lanes any more.' })]));
  }
}

/** All items of a model, the newest first. */
function itemsOf(model, client) {
  const items = [];
  const add = (lane, list, from) => {
    for (const item of from.values()) items.push({ lane, list, item, at: startOf(item) });
  };
  if (client === null) {
    add(null, 'bands', model.bands);
    add(null, 'spells', model.spells);
  }
  for (const lane of model.lanes.values()) {
    if (client === null || lane.client === client) for (const list of LISTS) add(lane, list, lane[list]);
  }
  return items.sort((one, other) => other.at - one.at || other.item.seq - one.item.seq);
}

/** The table behind a button: made when it is opened, and again when that is asked for, so that it can be read in peace. */
class ItemsTable {
  constructor(root, model, jump) {
    Object.assign(this, { root, model, jump });
    this.client = el('select', { id: `${root.id}-client`, onchange: () => this.fill() });
    this.body = el('tbody');
    this.note = el('p', { className: 'minor' });
    const again = el('button', { type: 'button', textContent: 'Refresh', onclick: () => this.fill() });
    this.details = el('details', { className: 'items' },
      el('summary', { textContent: 'All items as a table' }),
      el('div', { className: 'controls' }, el('label', { for: this.client.id, textContent: 'Client' }), this.client, again),
      this.note,
      el('div', { className: 'scrolling', tabIndex: 0, role: 'region', 'aria-label': 'Items' }, el('table', {},
        el('thead', {}, el('tr', {}, ...['At', 'Lasted', 'Client', 'What', 'Record'].map((text) => (
          el('th', { scope: 'col', textContent: text }))))), this.body)));
    this.details.addEventListener('toggle', () => this.details.open && this.fill());
    root.replaceChildren(this.details);
  }

  fill() {
    const clients = ['all', ...new Set([...this.model.lanes.values()].map((lane) => lane.client))];
    const chosen = Math.max(0, this.client.selectedIndex);
    this.client.replaceChildren(...clients.map((each, index) => el('option', { textContent: each || '(no key)', value: index })));
    this.client.selectedIndex = Math.min(chosen, clients.length - 1);
    const items = itemsOf(this.model, this.client.selectedIndex ? clients[this.client.selectedIndex] : null);
    const shown = items.slice(0, TABLE_ROWS_MAX);
    setText(this.note, `As of ${clock(this.model.now)}: ${shown.length < items.length ? `the newest ${shown.length} of ` : ''}${plural(items.length, 'item')}.`);
    this.body.replaceChildren(...shown.map((each) => this.row(each)));
  }

  row({ lane, list, item, at }) {
    const to = item.to === null ? this.model.now : item.to;
    const lasted = item.from === undefined ? '' : `${lasting(to - item.from)}${item.to === null ? ' so far' : ''}`;
    return el('tr', {},
      el('td', { className: 'number', textContent: clock(at) }), el('td', { className: 'number', textContent: lasted }),
      el('td', { textContent: lane ? laneName(lane) : '' }), el('td', { textContent: itemWords(list, item) }),
      el('td', {}, el('button', { type: 'button', className: 'link', textContent: `#${item.seq}`, 'aria-label': `Show record ${item.seq} in the lanes`, onclick: () => this.jump(item.seq, null) })));
  }
}
