'use strict';
// The verbs: of one connection, of all, and of the phases. Each is asked for and in force once it is answered.

/** Do what a button is for; it can't be pressed again meanwhile, and what goes wrong is said in words. */
async function whilePressed(button, act) {
  button.setAttribute('aria-busy', 'true');
  if (button.isBusy) return;
  button.isBusy = true;
  try {
    await act();
    trouble.clear();
  } catch (error) {
    trouble.show(error);
  } finally {
    button.isBusy = false;
    button.removeAttribute('aria-busy');
  }
}

const onPress = (button, act) => button.addEventListener('click', () => whilePressed(button, act));

/** What has gone wrong, until it is dismissed or something works. */
class Trouble {
  constructor() {
    byId('trouble-gone').addEventListener('click', () => this.clear());
  }

  show(error) {
    const isLost = error instanceof TypeError || error.name === 'TimeoutError';
    setText(byId('trouble-words'), isLost ? 'The proxy does not answer; nothing is known to have changed.' : error.message);
    byId('trouble').hidden = false;
  }

  clear() {
    byId('trouble').hidden = true;
  }
}

/** The code that closes use: a number, or none. */
function closeBody() {
  const text = byId('code').value.trim();
  return { code: /^\d+$/.test(text) ? Number(text) : text };
}

const VERBS = [
  // name, path, body
  ['Freeze', 'freeze', () => ({})],
  ['Heal', 'heal', () => ({})],
  ['Reset (RST)', 'reset', () => ({})],
  ['Close', 'close', closeBody],
];

/** The buttons of one lane: the two verbs used most, and a menu with all. */
class LaneActions {
  constructor(api, menu, lane) {
    this.api = api;
    this.lane = lane;
    this.toggle = el('button', { type: 'button', className: 'freeze' });
    this.more = el('button', { type: 'button', textContent: '⋯', 'aria-haspopup': 'true' });
    this.element = el('div', { className: 'acts' }, this.toggle, this.more);
    onPress(this.toggle, () => this.act(this.isSilent ? 'heal' : 'freeze'));
    this.more.addEventListener('click', () => menu.open(this, this.more));
  }

  update(lane, wire) {
    this.isSilent = wire === 'silent';
    // What has the focus stays, as its client may be back at once.
    this.element.hidden = !lane.live && !this.element.contains(document.activeElement);
    const words = this.isSilent ? 'Heal' : 'Freeze';
    setText(this.toggle, words);
    setAttribute(this.toggle, 'aria-label', `${words} ${laneName(lane)}`);
    setAttribute(this.more, 'aria-label', `More for ${laneName(lane)}`);
  }

  act(verb, body = {}) {
    return this.api.ask('POST', `/connections/${this.lane.attempt}/${verb}`, body);
  }
}

class Menu {
  constructor() {
    this.element = byId('menu');
  }

  open(actions, opener) {
    const name = `${laneName(actions.lane)} #${actions.lane.attempt}`;
    setText(byId('menu-title'), name);
    byId('menu-buttons').replaceChildren(...VERBS.map(([words, verb, body]) => {
      const code = verb === 'close' ? ` ${byId('code').value}` : '';
      const button = el('button', { type: 'button', textContent: words + code, 'aria-label': `${words}${code} ${name}` });
      onPress(button, async () => {
        this.close(opener);
        await actions.act(verb, body());
      });
      return button;
    }));
    if (!this.element.showPopover) return;
    this.element.showPopover();
    const box = opener.getBoundingClientRect();
    const own = this.element.getBoundingClientRect();
    this.element.style.left = `${Math.max(8, Math.min(box.left, innerWidth - own.width - 8))}px`;
    this.element.style.top = `${Math.max(8, Math.min(box.bottom + 4, innerHeight - own.height - 8))}px`;
    byId('menu-buttons').firstElementChild.focus();
  }

  close(opener) {
    this.element.hidePopover();
    opener.focus();
  }
}

function armAllButtons(api) {
  for (const [, verb, body] of VERBS) {
    onPress(byId(`all-${verb}`), () => api.ask('POST', `/connections/${verb}`, { all: true, ...body() }));
  }
}

/** The phase with what it waits for, and its buttons. */
class PhasePanel {
  constructor(api) {
    this.api = api;
    onPress(byId('next'), () => api.ask('POST', '/phase/next'));
    onPress(byId('pause'), () => api.ask('POST', this.phase && this.phase.paused ? '/phase/resume' : '/phase/pause'));
    onPress(byId('reset'), () => api.ask('POST', '/reset'));
    onPress(byId('play'), () => api.ask('POST', '/profile', { profile: byId('profile').value }));
    setInterval(() => this.show(), 250);
  }

  take(phase) {
    this.phase = phase;
    this.takenAt = performance.now();
    const isPaused = Boolean(phase.paused);
    setText(byId('pause'), isPaused ? 'Resume' : 'Pause');
    byId('pause').disabled = byId('next').disabled = !phase.running && (phase.over || !phase.name);
    if (!phase.running && !phase.over) byId('next').disabled = false;
    this.show();
  }

  show() {
    if (!this.phase) return;
    const { phase } = this;
    const since = phase.paused ? 0 : (performance.now() - this.takenAt) / 1000;
    setText(byId('phase-name'), phase.name || (phase.over ? 'over' : this.hasPhases ? 'not begun' : 'no phases'));
    for (const each of byId('phases').querySelectorAll('button')) {
      const isCurrent = each.textContent === phase.name;
      if (isCurrent) setAttribute(each, 'aria-current', 'step');
      else each.removeAttribute('aria-current');
    }
    setText(byId('phase-words'), phaseWords(phase, since));
    const progress = byId('phase-progress');
    const left = phase.ends_in_seconds;
    const total = left === null ? 0 : left + phase.seconds;
    progress.hidden = !total;
    if (total) progress.value = Math.min(1, (phase.seconds + since) / total);
  }

  /** All phases in their order; each can be gone to. */
  async listPhases() {
    const told = await this.api.ask('GET', '/phases').catch(() => null);
    const phases = (told && told.phases) || [];
    byId('phases').hidden = byId('next').hidden = byId('pause').hidden = phases.length === 0;
    byId('phases').replaceChildren(...phases.map(({ name, about }) => {
      const button = el('button', { type: 'button', className: 'step', textContent: name, title: about || `Go to ${name}` });
      onPress(button, () => this.api.ask('POST', '/phase', { phase: name }));
      return el('li', {}, button);
    }));
    this.hasPhases = phases.length > 0;
    this.show();
  }

  async listProfiles() {
    const told = await this.api.ask('GET', '/api/profiles').catch(() => null);
    const names = ((told && told.profiles) || []).map((each) => (typeof each === 'string' ? each : each.name));
    byId('profile').replaceChildren(...['', ...names].map((name) => el('option', { value: name, textContent: name || 'choose…' })));
    byId('profile').disabled = byId('play').disabled = names.length === 0;
  }
}

function phaseWords(phase, since) {
  const parts = [];
  if (!phase.name && phase.over) parts.push('only rules for all phases are in force, and those by hand');
  if (phase.paused) parts.push('paused');
  if (phase.name && phase.ends_in_seconds !== null) parts.push(`ends in ${lasting(Math.max(0, phase.ends_in_seconds - since))}`);
  else if (phase.name && phase.seconds !== null) parts.push(`for ${lasting(phase.seconds + since)}`);
  if (phase.until) parts.push(`until ${phase.until.condition}${untilWords(phase.until)}`);
  return [...parts, ...(phase.failures || [])].join(' · ');
}

function untilWords({ wanted, there }) {
  if (Array.isArray(wanted)) return `: ${(there || []).length} of ${wanted.length}`;
  return there === null || wanted === true ? '' : `: ${there} of ${wanted}`;
}
