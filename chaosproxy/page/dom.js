'use strict';
// Making elements. Text goes in as text nodes, styles as properties: nothing here can turn into markup or script.

const SVG = 'http://www.w3.org/2000/svg';

/** Make an element; properties whose names have a hyphen, and role, are set as attributes. */
function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes('-') || key === 'role' || key === 'for') element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Change a text only where it is another, since each change is work for the browser and for screen readers. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setAttribute(element, name, value) {
  const text = String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

const byId = (id) => document.getElementById(id);

const PATTERNS = {
  // id: [size, path of its lines]
  'hatch-wait': [6, 'M-1 7L7 -1M-1 1L1 -1M5 7L7 5'],
  'hatch-down': [5, 'M0 0L5 5M5 0L0 5'],
  'hatch-silent': [5, 'M-1 -1L6 6M-1 4L1 6M4 -1L6 1'],
  'dots-dialling': [4, 'M1 2h1.5'],
};

/** Hatches for what colour alone must not tell; once in a document. */
function addPatterns() {
  const patterns = Object.entries(PATTERNS).map(([id, [size, path]]) => svg(
    'pattern', { id, width: size, height: size, patternUnits: 'userSpaceOnUse' }, svg('path', { d: path, class: id }),
  ));
  const sheet = svg('svg', { width: 0, height: 0, class: 'patterns', 'aria-hidden': 'true' }, svg('defs', {}, ...patterns));
  document.body.append(sheet);
}
