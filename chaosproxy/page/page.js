'use strict';
// The live page: it listens to one stage of the proxy and lets people steer it. It does nothing by its address, so a
// link to it can do no harm, and it comes back by itself where the proxy was away.

const PACE_MS = 200; // at least, between two questions
const PACE_HIDDEN_MS = 2000;
const RETRY_MS = [300, 600, 1000, 2000];
const VERDICT_MS = 2000;
const STAGES_MS = 5000;

let trouble = null;
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

class Page {
  constructor() {
    addPatterns();
    trouble = new Trouble();
    this.api = new Api();
    this.model = new Model();
    this.menu = new Menu();
    const { api, menu, model } = this;
    this.timeline = new Timeline(byId('lanes'), model, { isLive: true, actions: (lane) => new LaneActions(api, menu, lane) });
    const jump = (seq, record) => this.timeline.jump(seq, record);
    this.phase = new PhasePanel(api);
    this.meters = new Meters(byId('plots'));
    this.log = new Log(byId('log'), jump);
    this.voice = new Voice(byId('said'));
    this.verdict = new VerdictTable(byId('verdict'), jump);
    new ItemsTable(byId('items'), model, jump);
    armAllButtons(api);
    onPress(byId('report'), () => api.download('/report', 'chaosproxy-report.html'));
    onPress(byId('journal'), () => api.download('/journal?format=jsonl', 'chaosproxy-journal.jsonl'));
    byId('stage').addEventListener('change', () => this.goTo(byId('stage').value));
    this.missing = new Set();
    this.turn = new AbortController();
    this.costs = []; // ms that the last answers took to be taken in
  }

  // -- listening ----------------------------------------------------------------------------------------------------

  async listen() {
    for (let failures = 0; ;) {
      const begun = performance.now();
      try {
        this.take(await this.askPicture());
        failures = 0;
      } catch (error) {
        if (this.turn.signal.aborted) this.turn = new AbortController(); // another stage: at once
        else failures = await this.recover(error, failures);
      }
      const pace = document.hidden ? PACE_HIDDEN_MS : PACE_MS;
      await pause(Math.max(0, begun + pace - performance.now()));
    }
  }

  askPicture() {
    const { run, version } = this.model;
    const known = run ? `&since=${version}&run=${encodeURIComponent(run)}` : '';
    return this.api.ask('GET', `/picture?wait=1s${known}`, null, this.turn.signal);
  }

  async recover(error, failures) {
    this.timeline.setLive(false);
    if (error.status === 401) {
      await this.askToken(error);
      return 0;
    }
    if (error.status === 404 && this.api.base !== '/api') {
      trouble.show(new Error('This stage has ended.'));
      this.goTo('/api');
      return 0;
    }
    this.link('down', error instanceof Refusal ? error.message : 'connection lost, trying again');
    if (!failures) this.say('Connection to the proxy lost');
    await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
    return failures + 1;
  }

  take(told) {
    const begun = performance.now();
    this.takeAll(told);
    this.costs.push(performance.now() - begun);
    if (this.costs.length > COSTS_MAX) this.costs.shift();
  }

  takeAll(told) {
    const changes = this.model.take(told);
    const wasLost = byId('link').dataset.kind !== 'good';
    if (wasLost) this.timeline.setLive(true);
    if (wasLost && this.wasThere) this.say('Connected to the proxy again');
    this.wasThere = true;
    this.link('good', told.meter.draining ? 'draining' : 'live');
    if (changes.isNew) this.beginAnew();
    if (changes.isNew || this.profileTold !== `${told.profile} ${told.digest} ${told.seed}`) this.showFacts(told);
    this.timeline.take(changes);
    this.phase.take(told.meter.phase);
    this.meters.take(told.meter, told.now);
    const news = allNews(changes);
    this.log.take(news);
    if (!changes.isNew) this.voice.take(news);
    const { lanes } = this.model.leftOut;
    const items = this.model.leftOut.items + this.model.letGoItems;
    byId('left-out').hidden = !(lanes || items);
    setText(byId('left-out'), `Let go, as there was too much: ${plural(lanes, 'lane')}, ${plural(items, 'item')}.`);
  }

  /** The proxy was restarted, or another stage was chosen: nothing that was shown is so any more. */
  beginAnew() {
    this.log.clear();
    this.meters.clear();
    byId('verdict').hidden = true;
    this.missing.clear();
    this.phase.listProfiles();
    this.findStages();
  }

  link(kind, words) {
    const chip = byId('link');
    setText(chip, words);
    if (chip.dataset.kind === kind) return;
    chip.dataset.kind = kind;
    chip.className = `chip ${kind}`;
  }

  say(words) {
    this.voice.take([{ words, rank: 0 }]);
  }

  // -- the header ---------------------------------------------------------------------------------------------------

  async showFacts(told) {
    this.profileTold = `${told.profile} ${told.digest} ${told.seed}`;
    this.isJudged = false;
    this.phase.listPhases();
    const state = await this.api.ask('GET', '/state').catch(() => ({}));
    this.isJudged = state.judged === true;
    if (!this.isJudged) byId('verdict').hidden = true;
    const facts = [
      ['clients →', state.address], ['→ server', state.upstream], ['profile', told.profile || 'unnamed'],
      ['seed', told.seed], ['digest', told.digest],
    ];
    byId('facts').replaceChildren(...facts.filter(([, value]) => value !== undefined && value !== null).map(([term, value]) => (
      el('div', {}, el('dt', { textContent: term }), el('dd', { textContent: String(value) })))));
    document.title = `${told.profile || 'no profile'} – chaosproxy`;
    const option = [...byId('profile').options].find((each) => each.value === told.profile);
    if (option) option.selected = true;
  }

  async findStages() {
    const [sessions, proxies] = await Promise.all(['/api/sessions', '/api/proxies'].map((path) => this.askStages(path)));
    const stages = [['/api', 'main']];
    for (const each of sessions.sessions || []) stages.push([each.control, `session ${each.id} · ${each.profile || 'no profile'}`]);
    for (const each of proxies.proxies || []) {
      if (each.name === 'main') continue; // it is the first one
      stages.push([`/api/proxies/${encodeURIComponent(each.name)}`, `proxy ${each.name} · ${each.profile || 'no profile'}`]);
    }
    if (JSON.stringify(stages) === this.stagesTold) return;
    this.stagesTold = JSON.stringify(stages);
    byId('stage').replaceChildren(...stages.map(([base, words]) => el('option', { value: base, textContent: words })));
    byId('stage').value = this.api.base;
    byId('choosing').hidden = stages.length < 2;
  }

  /** An address that is not there is asked for once: browsers complain of each such answer. */
  async askStages(path) {
    if (this.missing.has(path)) return {};
    try {
      return await this.api.ask('GET', path);
    } catch (error) {
      if (error.status === 404) this.missing.add(path);
      return {};
    }
  }

  goTo(base) {
    this.api.base = base;
    this.model.forget();
    byId('stage').value = base;
    this.turn.abort();
  }

  // -- beside the picture -------------------------------------------------------------------------------------------

  async lookAtVerdict() {
    for (;;) {
      await pause(VERDICT_MS);
      if (!this.isJudged || document.hidden || byId('link').dataset.kind !== 'good') continue;
      const base = this.api.base;
      try {
        const verdict = await this.api.ask('GET', '/verdict');
        if (base !== this.api.base) continue;
        byId('verdict').hidden = false;
        this.verdict.show(verdict);
      } catch (error) {
        if (error.status !== 409) continue;
        this.isJudged = false;
        byId('verdict').hidden = true;
      }
    }
  }

  async lookForStages() {
    for (;;) {
      await pause(STAGES_MS);
      if (!document.hidden && byId('link').dataset.kind === 'good') await this.findStages();
    }
  }

  /** Ask for a token, and return once there is one to try. */
  async askToken(refusal) {
    const dialog = byId('asking');
    this.link('wait', 'a token is needed');
    setText(byId('asking-words'), this.api.token ? `The last one was refused: ${refusal.message}` : '');
    byId('token').value = '';
    dialog.showModal();
    await new Promise((resolve) => {
      byId('asking-form').onsubmit = (event) => {
        event.preventDefault();
        this.api.keep(byId('token').value.trim());
        dialog.close();
        resolve();
      };
      dialog.oncancel = (event) => event.preventDefault();
    });
  }
}

const page = new Page();
page.listen();
page.lookAtVerdict();
page.lookForStages();
