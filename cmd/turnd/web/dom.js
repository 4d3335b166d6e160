// What the views share: elements, text and numbers. Whatever comes from the server or its clients goes into the page as
// text, never as markup.

export const $ = (id) => document.getElementById(id);

// An element with properties and children; children may be text.
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === 'data') Object.assign(element.dataset, value);
    else if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// Text with everything shown that could hide or reorder it.
export function visible(text) {
  return String(text).replace(
    /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

const decimal = (value) => (value < 10 ? value.toFixed(1) : Math.round(value).toString());

function scaled(value, units, step) {
  let i = 0;
  while (value >= step && i < units.length - 1) {
    value /= step;
    i++;
  }
  return `${i === 0 ? Math.round(value) : decimal(value)} ${units[i]}`;
}

export const bytes = (n) => scaled(n, ['B', 'kB', 'MB', 'GB', 'TB', 'PB'], 1000);
export const bits = (perSecond) =>
  scaled(perSecond, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'], 1000);
export const millis = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);

export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

export const moment = (unixSeconds) => new Date(unixSeconds * 1000).toLocaleString();

// Asks; resolves with false, or with { value } (of a number field, if one is wanted).
export function ask({ title, text, yes, field }) {
  const dialog = $('dialog'), input = $('dialog-input');
  $('dialog-title').textContent = title;
  $('dialog-text').textContent = text;
  $('dialog-yes').textContent = yes;
  $('dialog-field').hidden = !field;
  document.querySelector('#dialog-field label').textContent = field ?? '';
  input.value = '';
  dialog.returnValue = 'no'; // also of Escape
  $('dialog-no').onclick = () => dialog.close('no');
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      resolve(dialog.returnValue === 'yes' && { value: Number(input.value) || 0 });
    }, { once: true });
  });
}
