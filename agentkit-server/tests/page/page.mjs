// Tests of the page in a real browser: `node page.mjs SERVER [--files FOLDER] [--screens FOLDER] [--only WORD]`.
//
// AGENTKIT_PAGE_MODULES names the folder whose `node_modules` has playwright-core and axe-core, and oidc-provider for the sign-in. With `--files` the page is
// shown as it is in that folder, so that nothing needs to be compiled; with `--screens` every view is photographed.

import { Model, Server, browserPath, chromium } from "./harness.mjs";
import { logins } from "./login.mjs";
import { tests } from "./tests.mjs";
import { screens } from "./screens.mjs";

const [binary, ...rest] = process.argv.slice(2);
const option = (name) => (rest.includes(name) ? rest[rest.indexOf(name) + 1] : null);
const files = option("--files");

if (!browserPath()) {
  console.log("skipped: there is no Chromium in PATH");
  process.exit(0);
}
const model = await Model.start();
const [server, slow] = await Promise.all([
  Server.start(binary),
  Server.start(binary, { AGENTKIT_CHAT__BASE_URL: model.url, AGENTKIT_CHAT__MODEL: "slow" }),
]);
const browser = await chromium.launch({ executablePath: browserPath(), args: ["--no-sandbox"] });
const world = { binary, browser, server, slow, model, files };
let failed = 0;
try {
  if (option("--screens")) await screens(world, option("--screens"));
  else for (const [name, test] of Object.entries({ ...tests, ...logins })) {
    if (option("--only") && !name.includes(option("--only"))) continue;
    try {
      await test(world);
      console.log(`ok: ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED: ${name}: ${error.stack}`);
    }
  }
} finally {
  await browser.close();
  await Promise.all([server.stop(), slow.stop()]);
  model.stop();
}
process.exit(failed === 0 ? 0 : 1);
