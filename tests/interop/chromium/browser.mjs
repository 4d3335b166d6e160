// What the browser tests share: a headless Chromium, started as such a test needs it.
import { createRequire } from 'node:module';

export async function launch(modules) {
  const { chromium } = createRequire(modules + '/')('playwright-core');
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    timeout: 30_000,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
      '--disable-background-networking', '--disable-component-update'],
  });
}
