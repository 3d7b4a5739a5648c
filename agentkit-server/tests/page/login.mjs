// Signing in to the page at a real OpenID Connect provider, where the folder of modules has oidc-provider.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { Server, accessible, check, open, same, until } from "./harness.mjs";

const installed = existsSync(join(process.env.AGENTKIT_PAGE_MODULES, "node_modules", "oidc-provider"));

async function freePort() {
  const probe = createServer();
  await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** A provider, and a server whose page people sign in to there. */
async function started({ binary }, environment = {}) {
  const [port, own] = [await freePort(), await freePort()];
  const script = fileURLToPath(new URL("./provider.mjs", import.meta.url));
  const provider = spawn("node", [script, String(port), `http://127.0.0.1:${own}/`], { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "ignore"] });
  await new Promise((resolve, reject) => {
    provider.stdout.on("data", (data) => { if (String(data).includes("ready")) resolve(); });
    provider.on("exit", () => reject(new Error("the provider ended")));
  });
  const server = await Server.start(binary, {
    AGENTKIT_OIDC__ISSUER: `http://127.0.0.1:${port}`, AGENTKIT_OIDC__AUDIENCE: "urn:chat-api",
    AGENTKIT_OIDC__CLIENT_ID: "page", AGENTKIT_OIDC__SCOPE: "openid chat",
  }, ["--listen", `127.0.0.1:${own}`]);
  const stop = async () => { provider.kill(); await server.stop(); };
  return { server, provider, origin: `http://127.0.0.1:${port}`, stop };
}

/** Signs in at the provider as `name` and agrees to what the page asks for. */
async function signIn(page, name) {
  // Until the provider is known, the only button of this name belongs to the key.
  await page.locator("#provider").waitFor();
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.fill("input[name=login]", name);
  await page.fill("input[name=password]", "anything");
  await page.locator("button[type=submit]").click();
  await page.locator("button[type=submit]", { hasText: /continue/i }).click();
}

async function people_sign_in_at_the_identity_provider(world) {
  if (!installed) { console.log("left out: there is no oidc-provider among the modules"); return; }
  const { server, origin, stop } = await started(world);
  try {
    const page = await open(world.browser, server, { files: world.files, key: null });
    await page.locator("#provider").waitFor();
    same(await page.locator("#provider-hint").textContent(), `This leads to ${new URL(origin).host}. Programs sign in with a key:`, "where it leads");
    await accessible(page, "sign-in with a provider");
    await page.goto(`${server.url}/#/documents`);
    await signIn(page, "ann");
    await page.locator("#app").waitFor();
    same(await page.locator("#me-role").textContent(), "editor of acme", "the token's claims count");
    same(await page.locator("#me-name").textContent(), "ann", "the token names the person");
    same(await page.evaluate(() => [location.search, location.hash]), ["", "#/documents"], "the code is out of the address, the view is kept");
    const kept = await page.evaluate(() => [JSON.stringify(localStorage), sessionStorage.getItem("sign-in"), sessionStorage.getItem("key").split(".").length]);
    check(!kept[0].includes("ey"), "the token stays in the tab");
    same(kept.slice(1), [null, 3], "the attempt is used up");
    await page.setInputFiles("#files", [{ name: "tea.md", mimeType: "", buffer: Buffer.from("# Tea\n\nIt is green.\n") }]);
    await page.locator(".upload.stored").waitFor();
    await page.reload();
    await page.locator("#app").waitFor();
    await page.click("#account");
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.locator("#provider").waitFor();
    same(await page.evaluate(() => [sessionStorage.getItem("key"), sessionStorage.getItem("id-token")]), [null, null], "the tokens are gone");
    same(page.faults, [], "faults in the console");
    await page.context().close();
  } finally { await stop(); }
}

async function who_signs_out_of_the_provider_too_is_asked_who_they_are(world) {
  if (!installed) { console.log("left out: there is no oidc-provider among the modules"); return; }
  const { server, origin, stop } = await started(world);
  try {
    const page = await open(world.browser, server, { files: world.files, key: null });
    await signIn(page, "ann");
    await page.locator("#app").waitFor();
    await page.click("#account");
    await page.getByRole("button", { name: "Sign out of the provider too" }).click();
    await page.waitForURL((url) => url.origin === origin);
    await page.getByRole("button", { name: /yes/i }).click();
    await page.locator("#provider").waitFor();
    same(await page.evaluate(() => [location.origin, sessionStorage.getItem("key"), sessionStorage.getItem("id-token")]), [server.url, null, null], "the page is back, signed out");
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.locator("input[name=login]").waitFor();
    await page.context().close();
  } finally { await stop(); }
}

async function an_answer_that_nobody_waited_for_signs_nobody_in(world) {
  if (!installed) { console.log("left out: there is no oidc-provider among the modules"); return; }
  const { server, origin, stop } = await started(world);
  try {
    const page = await open(world.browser, server, { files: world.files, key: null });
    const asked = [];
    page.on("request", (request) => { if (request.url().startsWith(`${origin}/token`)) asked.push(request.url()); });
    for (const [attempt, answer, told] of [
      [null, "code=stolen&state=x", "not one to this tab"],
      [{ verifier: "v", state: "other", nonce: "n", hash: "" }, "code=stolen&state=x", "not one to this tab"],
      [{ verifier: "v", state: "x", nonce: "n", hash: "" }, "code=stolen&state=x&iss=http%3A%2F%2Fevil.example", "of another provider"],
      [{ verifier: "v", state: "x", nonce: "n", hash: "" }, "error=access_denied&state=x&error_description=Not%20today", "Not today"],
    ]) {
      await page.evaluate((value) => { if (value) sessionStorage.setItem("sign-in", JSON.stringify(value)); else sessionStorage.removeItem("sign-in"); }, attempt);
      await page.goto(`${server.url}/?${answer}`);
      await page.locator("#gate .problem").getByText(told).waitFor();
      same(await page.evaluate(() => [location.search, sessionStorage.getItem("sign-in"), sessionStorage.getItem("key")]), ["", null, null], "nothing is kept of it");
    }
    same(asked, [], "no code of others is shown to the provider");
    await page.evaluate(() => sessionStorage.setItem("sign-in", JSON.stringify({ verifier: "v".repeat(43), state: "x", nonce: "n", hash: "" })));
    await page.goto(`${server.url}/?code=stolen&state=x`);
    await page.locator("#gate .problem").getByText("Signing in did not work").waitFor();
    await until(() => asked.length === 1, "the code was tried");
    same(await page.evaluate(() => sessionStorage.getItem("key")), null, "a code that does not count signs nobody in");
    // A token of another sign-in: the provider answers, but with another nonce.
    await page.route(`${origin}/token`, (route) => {
      const claims = Buffer.from(JSON.stringify({ iss: origin, aud: "page", nonce: "other", sub: "eve" })).toString("base64url");
      route.fulfill({ json: { access_token: "a.b.c", id_token: `x.${claims}.y` }, headers: { "access-control-allow-origin": "*" } });
    });
    await page.evaluate(() => sessionStorage.setItem("sign-in", JSON.stringify({ verifier: "v".repeat(43), state: "x", nonce: "n", hash: "" })));
    await page.goto(`${server.url}/?code=stolen&state=x`);
    await page.locator("#gate .problem").getByText("not one for this sign-in").waitFor();
    same(await page.evaluate(() => sessionStorage.getItem("key")), null, "nobody is signed in");
    await page.context().close();
  } finally { await stop(); }
}

async function a_token_that_expires_leads_to_the_provider_again(world) {
  if (!installed) { console.log("left out: there is no oidc-provider among the modules"); return; }
  // Clocks may differ by 30 seconds, so a token of one second counts for as long; one that is broken is refused at once.
  const { server, stop } = await started(world);
  try {
    const page = await open(world.browser, server, { files: world.files, key: null });
    await signIn(page, "ann");
    await page.locator("#app").waitFor();
    await page.fill("#message", "Is anybody there?");
    await page.evaluate(() => sessionStorage.setItem("key", sessionStorage.getItem("key").replace(/.{8}$/, "AAAAAAAA")));
    await page.reload();
    await page.locator("#gate .problem").getByText("You are signed out").waitFor();
    await page.locator("#provider").waitFor();
    await page.context().close();
  } finally { await stop(); }
}

export const logins = {
  people_sign_in_at_the_identity_provider, who_signs_out_of_the_provider_too_is_asked_who_they_are, an_answer_that_nobody_waited_for_signs_nobody_in, a_token_that_expires_leads_to_the_provider_again,
};
