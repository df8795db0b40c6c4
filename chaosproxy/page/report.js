'use strict';
// The report: finished runs, one at a time, from the data that stands in this file.

function showRun(run, title) {
  const { picture, verdict, records } = run;
  byId('run').hidden = false;
  for (const id of ['verdict', 'lanes', 'items']) byId(id).replaceChildren();
  const model = new Model();
  const timeline = new Timeline(byId('lanes'), model);
  const jump = (seq, record) => timeline.jump(seq, record || (records || {})[seq]);
  timeline.take(model.take(picture));
  setText(byId('title'), title);
  byId('facts').replaceChildren(...factsOf(picture, verdict).flatMap(([term, value]) => [
    el('dt', { textContent: term }), el('dd', { textContent: value }),
  ]));
  // Another profile, or the same anew, is a run of its own, and the last one is judged.
  const since = verdict && verdict.began_seconds ? ` on what was played last, from ${clock(verdict.began_seconds)} on` : '';
  if (verdict) new VerdictTable(byId('verdict'), jump).show(verdict, `Verdict${since}`);
  else byId('verdict').append(el('h2', { textContent: 'Verdict' }), el('p', { textContent: 'This run was not judged.' }));
  new ItemsTable(byId('items'), model, jump);
  const { lanes = 0, items = 0 } = picture.left_out || {};
  byId('left-out').hidden = !(lanes || items);
  setText(byId('left-out'), `Left out, as there was too much: ${plural(lanes, 'lane')}, ${plural(items, 'item')}.`);
  globalThis.timeline = timeline;
}

function factsOf(picture, verdict) {
  return [
    ['Profile', picture.profile || 'unnamed'], ['Began', picture.started], ['Lasted', lasting(picture.now)],
    ['Seed', picture.seed], ['Profile’s digest', picture.digest], ['Run’s digest', verdict && verdict.digest],
  ].filter(([, value]) => value !== null && value !== undefined && value !== '').map(([term, value]) => [term, String(value)]);
}

function nameOf(run, index, runs) {
  const profile = run.picture.profile || 'unnamed';
  const repeat = run.verdict && run.verdict.repeat ? ` #${run.verdict.repeat}` : '';
  const isAlone = runs.filter((each) => each.picture.profile === run.picture.profile).length < 2;
  return `${profile}${repeat || (isAlone ? '' : ` (${index + 1})`)}`;
}

function showReport() {
  addPatterns();
  const runs = JSON.parse(byId('runs').textContent);
  const names = runs.map(nameOf);
  const words = (run) => (run.verdict ? (run.verdict.passed ? '✓ ' : '✕ ') : '');
  const choice = byId('choice');
  choice.replaceChildren(...runs.map((run, index) => el('option', { value: index, textContent: words(run) + names[index] })));
  byId('choosing').hidden = runs.length < 2;
  const failed = runs.findIndex((run) => run.verdict && !run.verdict.passed);
  choice.selectedIndex = Math.max(0, failed);
  const show = () => runs.length && showRun(runs[choice.selectedIndex], names[choice.selectedIndex]);
  choice.addEventListener('change', show);
  show();
}

showReport();
