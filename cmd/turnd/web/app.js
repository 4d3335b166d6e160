// turnd's web page: the live view (live.js) and the test from this browser (test.js), and the token if the server wants
// one. It talks to the JSON API it was served with (api.js has what it reads) and to nobody else.
import { hasToken, onTokenWanted, setToken } from './api.js';
import { $ } from './dom.js';
import * as live from './live.js';
import * as test from './test.js';

const VIEWS = ['live', 'test'];
let locked = false; // a token is wanted

const chosen = () => (VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : VIEWS[0]);

function show() {
  const view = chosen();
  $('login').hidden = !locked;
  for (const name of VIEWS) $(name).hidden = locked || name !== view;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.getAttribute('href') === `#${view}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  $('forget').hidden = locked || !hasToken();
}

function notice(text) {
  if ($('notice').textContent !== text) $('notice').textContent = text;
  $('notice').hidden = !text;
}

function report(error) {
  if (error?.status === 401) return;
  notice(error ? `${error.message} Trying again.` : '');
  if (error?.status === 0) {
    $('state').dataset.state = 'away';
    $('state').textContent = 'away';
  }
}

onTokenWanted(() => {
  if (locked) return;
  locked = true;
  notice(hasToken() ? 'The server does not accept this token.' : '');
  setToken(null);
  show();
  $('token').focus();
});

$('login-form').onsubmit = (event) => {
  event.preventDefault();
  setToken($('token').value.trim());
  $('token').value = '';
  locked = false;
  notice('');
  show();
  live.refresh().then(() => report(null), report);
};

$('forget').onclick = () => {
  setToken(null);
  location.reload();
};

window.addEventListener('hashchange', show);
live.start();
test.start();
show();
live.watch(() => !locked, report);
