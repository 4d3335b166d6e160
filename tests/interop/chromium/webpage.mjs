// turnd's web page in a headless Chromium: logs in, looks at sessions, ends one, drains and reloads, and has the page
// test the server.
//
//     node webpage.mjs NODE_MODULES URL TOKEN USER STEP...
//
// USER is the name of a session that stands. Steps, in order:
//
//     look       the page wants the token, takes it, and shows the server and the session; the user's name is text
//     end        ends that session
//     operate    drains, serves again, reloads
//     test       clicks "Test now" and reads the verdict
//
// Prints one line of JSON: what the page said, and what it should not have done (dialogs, requests to others, errors).
// Exit status 0: every step came to its end, and nothing of the latter.
import { launch } from './browser.mjs';

const [modules, url, token, user, ...steps] = process.argv.slice(2);
const PATIENCE_MS = 15_000;
const TEST_MS = 120_000;
const said = { complaints: [] };
const complain = (text) => said.complaints.push(text);

const browser = await launch(modules);
const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
page.setDefaultTimeout(PATIENCE_MS);
page.on('dialog', (dialog) => { complain(`dialog: ${dialog.message()}`); dialog.dismiss(); });
page.on('pageerror', (error) => complain(`script: ${error.message}`));
page.on('request', (request) => {
  if (new URL(request.url()).origin !== new URL(url).origin) complain(`request to ${request.url()}`);
});
page.on('console', (message) => {
  const text = message.text();
  // The refusals that are part of the plan; the page has no say in these lines.
  const planned = /status of 401/.test(text);
  if (message.type() === 'error' && !planned) complain(`console: ${text}`);
});

function check(condition, what) {
  if (!condition) throw new Error(what);
}

const row = () => page.locator('#sessions tbody tr').filter({ has: page.getByText(user, { exact: true }) });

async function look() {
  await page.locator('#login').waitFor();
  check(!await page.locator('#live').isVisible(), 'the sessions are shown without a token');
  await page.getByLabel('Token', { exact: true }).fill('wrong');
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByText('does not accept this token').waitFor();
  await page.getByLabel('Token', { exact: true }).fill(token);
  await page.getByRole('button', { name: 'Continue' }).click();
  await row().waitFor();
  said.state = await page.locator('#state').textContent();
  said.version = await page.locator('#version').textContent();
  said.row = (await row().locator('td').allTextContents()).slice(0, 4);
  check(await page.locator('#sessions img').count() === 0, 'a name became an element');
  await page.locator('#rate-up').filter({ hasText: 'bit/s' }).waitFor();
  await filter();
}

async function filter() {
  const box = page.getByLabel('User or client address');
  await box.fill('nobody at all');
  await page.getByRole('button', { name: 'Filter' }).click();
  await page.getByText('No sessions.').waitFor();
  await box.fill(user);
  await box.press('Enter');
  await row().waitFor();
  await page.getByLabel('Transport', { exact: true }).selectOption('tls');
  await page.getByText('No sessions.').waitFor();
  await page.getByLabel('Transport', { exact: true }).selectOption('');
  await row().waitFor();
}

async function end() {
  await row().getByRole('button').click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  check(await row().count() === 1, 'Cancel ended the session');
  await row().getByRole('button').click();
  said.asked = await page.locator('#dialog-text').textContent();
  await page.getByRole('button', { name: 'End it' }).click();
  await page.getByText('The session has ended.').waitFor();
  await row().waitFor({ state: 'detached' });
}

async function operate() {
  await page.getByRole('button', { name: 'Drain…' }).click();
  await page.getByRole('button', { name: 'Drain', exact: true }).click();
  await page.locator('#state[data-state=draining]').waitFor();
  await page.getByRole('button', { name: 'Serve again' }).click();
  await page.locator('#state[data-state=serving]').waitFor();
  await page.getByRole('button', { name: 'Reload configuration' }).click();
  await page.locator('#done').filter({ hasNotText: /^(…|Serving again\.)$/ }).waitFor();
  said.reload = await page.locator('#done').textContent();
}

async function test() {
  await page.getByRole('link', { name: 'Test from this browser' }).click();
  await page.getByRole('button', { name: 'Test now' }).click();
  const verdict = page.locator('#verdict');
  await page.locator('#verdict:is([data-state=ok], [data-state=partial], [data-state=failed])')
    .waitFor({ timeout: TEST_MS });
  said.verdict = { state: await verdict.getAttribute('data-state'), text: await verdict.textContent() };
  said.ways = await page.locator('#results tbody tr').evaluateAll((rows) => rows.map((r) => ({
    transport: r.dataset.transport, url: r.dataset.url, state: r.dataset.state,
    cells: [...r.cells].slice(1).map((c) => c.textContent),
  })));
  if (said.verdict.state !== 'ok') said.log = (await page.locator('#log').textContent()).split('\n');
}

const known = { look, end, operate, test };
try {
  await page.goto(url);
  for (const step of steps) {
    said.step = step;
    await known[step]();
  }
  delete said.step;
} catch (error) {
  said.failed = error.message.split('\n')[0];
}
if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
await browser.close();
console.log(JSON.stringify(said));
process.exitCode = said.failed || said.complaints.length ? 1 : 0;
