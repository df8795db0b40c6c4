'use strict';
// What is known of a run: the picture that /api/picture tells piece by piece, or a report holds whole.
// What peers said is in here word for word; it may reach a document as text only.

const LISTS = ['wire', 'ends', 'states', 'marks'];
const LANES_MAX = 5000;
const ITEMS_MAX = 2000; // of one list of one lane
const ALL_ITEMS_MAX = 100_000; // the proxy keeps half as many
const KEPT_S = [7200, 3600, 1800, 900, 300, 120, 60]; // what is over for longer is let go, if there is too much

class Model {
  constructor() {
    this.forget();
  }

  forget() {
    this.run = '';
    this.version = 0;
    this.now = 0;
    this.facts = {};
    this.bands = new Map();
    this.spells = new Map();
    this.lanes = new Map();
    this.leftOut = { lanes: 0, items: 0 };
    this.count = 0; // of items in lanes
    this.letGoItems = 0;
  }

  /** Take what was told; return what is new or has changed, for those who draw or speak of it. */
  take(told) {
    const isNew = told.run !== this.run;
    if (isNew) this.forget();
    const changes = { isNew, lanes: new Set(), haveLanesChanged: isNew, bands: isNew, spells: isNew, items: [] };
    Object.assign(this, { run: told.run, version: told.version, now: told.now, leftOut: told.left_out || this.leftOut });
    this.facts = { profile: told.profile, digest: told.digest, seed: told.seed, started: told.started };
    this.takeList(this.bands, told.bands, 'bands', null, changes);
    this.takeList(this.spells, told.spells, 'spells', null, changes);
    for (const each of told.lanes || []) this.takeLane(each, changes);
    this.letGo(changes);
    return changes;
  }

  takeLane(told, changes) {
    let lane = this.lanes.get(told.id);
    if (!lane) {
      lane = { id: told.id, revision: 0 };
      for (const list of LISTS) lane[list] = new Map();
      this.lanes.set(told.id, lane);
      changes.haveLanesChanged = true;
    }
    if (lane.client !== told.client || lane.row !== told.row) changes.haveLanesChanged = true;
    const { client, voice, row, attempt, live, path, socket_id: socketId } = told;
    Object.assign(lane, { client, voice, row, attempt, live, path, socketId });
    lane.revision += 1;
    changes.lanes.add(lane);
    for (const list of LISTS) this.takeList(lane[list], told[list], list, lane, changes);
    lane.lastWire = latestOf(lane.wire);
    lane.lastState = latestOf(lane.states);
    lane.lastAt = lastAtOf(lane);
  }

  takeList(known, told, list, lane, changes) {
    for (const item of told || []) {
      changes.items.push({ lane, list, item, before: known.get(item.seq) });
      if (lane && !known.has(item.seq)) this.count += 1;
      known.set(item.seq, item);
    }
    if (!lane && told && told.length) changes[list] = true;
    for (const seq of known.keys()) {
      if (known.size <= ITEMS_MAX) break;
      known.delete(seq);
      if (lane) this.noteLetGo();
    }
  }

  noteLetGo() {
    this.count -= 1;
    this.letGoItems += 1;
  }

  /** Keep within bounds: what has been over for longest goes first. */
  letGo(changes) {
    for (const kept of KEPT_S) {
      if (this.count <= ALL_ITEMS_MAX) break;
      for (const lane of this.lanes.values()) this.letGoBefore(lane, this.now - kept);
    }
    for (const lane of this.lanes.values()) {
      if (this.lanes.size <= LANES_MAX) return;
      if (lane.live) continue;
      for (const list of LISTS) lane[list].forEach(() => this.noteLetGo());
      this.lanes.delete(lane.id);
      changes.haveLanesChanged = true;
    }
  }

  letGoBefore(lane, at) {
    for (const list of LISTS) {
      for (const [seq, item] of lane[list]) {
        const isOver = item.to !== null && Math.max(item.to || 0, startOf(item)) < at;
        if (isOver && lane[list].delete(seq)) this.noteLetGo();
      }
    }
  }

  /** All lanes: clients in the order in which they came, each one's lanes side by side. */
  ordered() {
    const byClient = new Map();
    for (const lane of this.lanes.values()) {
      if (!byClient.has(lane.client)) byClient.set(lane.client, []);
      byClient.get(lane.client).push(lane);
    }
    return [...byClient.values()].flatMap((lanes) => lanes.sort((one, other) => one.row - other.row));
  }

  /** Where a journal record can be seen: the item that it began, or else the time and lane that it names. */
  find(seq, record) {
    const item = this.bands.get(seq) || this.spells.get(seq);
    if (item) return { lane: null, item, at: startOf(item) };
    for (const lane of this.lanes.values()) {
      for (const list of LISTS) {
        if (lane[list].has(seq)) return { lane, item: lane[list].get(seq), at: startOf(lane[list].get(seq)) };
      }
    }
    return record ? { lane: this.laneOf(record), item: null, at: record.at } : null;
  }

  laneOf(record) {
    const lanes = [...this.lanes.values()];
    const attempt = record.attempt;
    const isAttempts = (lane) => [...lane.wire.values(), ...lane.ends.values()].some((each) => each.attempt === attempt);
    return (attempt && lanes.find((lane) => lane.attempt === attempt || isAttempts(lane)))
      || (typeof record.client === 'string' && lanes.find((lane) => lane.client === record.client))
      || null;
  }
}

const startOf = (item) => (item.from === undefined ? item.at : item.from);

/** The item of a list that lasts until now, or the one that was last. */
function latestOf(items) {
  let latest = null;
  for (const item of items.values()) {
    if (!latest || startOf(item) >= startOf(latest)) latest = item;
  }
  return latest;
}

/** When the last of a lane was, as far as it is over. */
function lastAtOf(lane) {
  let last = 0;
  for (const list of LISTS) {
    for (const item of lane[list].values()) last = Math.max(last, item.to === null ? Infinity : item.to || startOf(item));
  }
  return last;
}

const lastsStill = (item) => Boolean(item) && item.to === null;
const wireNow = (lane) => (lastsStill(lane.lastWire) ? lane.lastWire.what : '');
const stateNow = (lane) => (lastsStill(lane.lastState) ? lane.lastState : null);
