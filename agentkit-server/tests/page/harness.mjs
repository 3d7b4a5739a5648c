// What the tests of the page stand on: servers, a chat model that can be slow, a browser, and checks of what it shows.

import { spawn, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { delimiter, extname, join } from "node:path";

if (!process.env.AGENTKIT_PAGE_MODULES) {
  console.log("skipped: AGENTKIT_PAGE_MODULES names no folder with playwright-core and axe-core");
  process.exit(0);
}
const modules = createRequire(join(process.env.AGENTKIT_PAGE_MODULES, "node_modules", "none.js"));
export const { chromium } = modules("playwright-core");
const AXE = readFileSync(modules.resolve("axe-core/axe.min.js"), "utf8");
const SOON = 20_000;

/** The environment without the settings of a server. */
const CLEAN = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("AGENTKIT_") || name === "AGENTKIT_CACHE_DIR"));

/** The browser of this machine. */
export function browserPath() {
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const paths = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => names.map((name) => join(folder, name)));
  return paths.find((path) => existsSync(path));
}

/** A server of this binary over a new data directory, with its first key. */
export class Server {
  static async start(binary, settings = {}, flags = []) {
    const server = new Server();
    server.binary = binary;
    server.folder = mkdtempSync(join(tmpdir(), "agentkit-page-"));
    const listen = flags.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
    server.process = spawn(binary, ["serve", ...listen, "--data-dir", server.folder, "--embedder", "hashing", ...flags], {
      env: { ...CLEAN, ...settings }, stdio: ["ignore", "pipe", "pipe"],
    });
    let printed = "";
    await new Promise((resolve, reject) => {
      const look = (data) => { printed += data; if (/serving on http/.test(printed)) resolve(); };
      server.process.stdout.on("data", look);
      server.process.stderr.on("data", look);
      server.process.on("exit", () => reject(new Error(`the server ended: ${printed}`)));
    });
    server.url = printed.match(/http:\/\/[0-9.:]+/)[0];
    server.key = printed.match(/agk_[0-9a-f_]+/)?.[0] ?? null;
    return server;
  }

  /** Another key, made as an administrator makes it: `{ key, id }`. */
  makeKey(role, user) {
    const made = execFileSync(this.binary, ["keys", "create", "--role", role, "--user", user, "--data-dir", this.folder], { encoding: "utf8", env: CLEAN });
    const key = made.match(/agk_[0-9a-f_]+/)[0];
    return { key, id: key.split("_")[1] };
  }

  revoke(id) {
    execFileSync(this.binary, ["keys", "revoke", id, "--data-dir", this.folder], { env: CLEAN, stdio: "ignore" });
  }

  async call(method, path, body, type = "application/json") {
    const response = await fetch(this.url + path, { method, body, headers: { authorization: `Bearer ${this.key}`, "content-type": type } });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    const text = await response.text();
    return text ? JSON.parse(text) : null;
  }

  put(id, text, type = "text/markdown") { return this.call("PUT", `/documents/${encodeURIComponent(id)}`, text, type); }

  async stop() {
    const ended = new Promise((resolve) => this.process.on("exit", resolve));
    this.process.kill("SIGTERM");
    await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A chat model that says a word every now and then until nobody listens, or what it was told to. */
export class Model {
  static async start() {
    const model = new Model();
    model.answer = null;
    model.left = 0;
    model.http = createServer((request, response) => model.serve(request, response));
    await new Promise((resolve) => model.http.listen(0, "127.0.0.1", resolve));
    model.url = `http://127.0.0.1:${model.http.address().port}/v1`;
    return model;
  }

  serve(request, response) {
    request.resume();
    response.writeHead(200, { "content-type": "text/event-stream" });
    const say = (delta, reason = null) => response.write(`data: ${JSON.stringify({ id: "1", object: "chat.completion.chunk", created: 1, model: "slow", choices: [{ index: 0, delta, finish_reason: reason }] })}\n\n`);
    if (this.answer !== null) {
      say({ role: "assistant", content: this.answer });
      say({}, "stop");
      response.end("data: [DONE]\n\n");
      return;
    }
    const timer = setInterval(() => say({ content: "word " }), 40);
    response.on("close", () => { clearInterval(timer); this.left += 1; });
  }

  stop() { this.http.closeAllConnections(); this.http.close(); }
}

/** A wire to a server that can be cut. */
export class Wire {
  static async to(server) {
    const wire = new Wire();
    wire.open = new Set();
    wire.tcp = createTcpServer((near) => {
      const far = connect(Number(new URL(server.url).port), "127.0.0.1");
      for (const [one, other] of [[near, far], [far, near]]) {
        wire.open.add(one);
        one.pipe(other);
        for (const end of ["error", "close"]) one.on(end, () => { wire.open.delete(one); other.destroy(); });
      }
    });
    await new Promise((resolve) => wire.tcp.listen(0, "127.0.0.1", resolve));
    wire.url = `http://127.0.0.1:${wire.tcp.address().port}`;
    return wire;
  }

  cut() { for (const socket of this.open) socket.destroy(); }

  stop() { this.cut(); this.tcp.close(); }
}

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

/** A tab that shows the page of `server`; with `files` as they are in that folder, so that nothing needs to be compiled. */
export async function open(browser, server, { width = 1280, height = 800, files = null, key = server.key, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(SOON);
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  // What the service refuses is a message of the browser's too, and no fault of the page.
  page.on("console", (message) => { if (message.type() === "error" && !/Failed to load resource/.test(message.text())) page.faults.push(message.text()); });
  if (files) await serveFrom(page, server, files);
  // Once only: whoever signs out has no key after a reload either.
  if (key) await page.addInitScript((value) => {
    if (!sessionStorage.getItem("left")) sessionStorage.setItem("key", value);
    sessionStorage.setItem("left", "yes");
  }, key);
  await page.goto(server.url);
  return page;
}

async function serveFrom(page, server, folder) {
  const policy = (await fetch(server.url)).headers.get("content-security-policy");
  await page.route(({ pathname }) => pathname === "/" || pathname.startsWith("/page/"), (route) => {
    const { pathname } = new URL(route.request().url());
    // What the service says and no file.
    if (pathname.endsWith(".json")) { route.continue(); return; }
    const name = pathname === "/" ? "index.html" : pathname.slice("/page/".length);
    route.fulfill({ body: readFileSync(join(folder, name)), headers: { "content-type": TYPES[extname(name)], "content-security-policy": policy } });
  });
}

export function check(condition, what) {
  if (!condition) throw new Error(what);
}

export function same(found, wanted, what) {
  check(JSON.stringify(found) === JSON.stringify(wanted), `${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
}

/** Waits until `condition` gives something true. */
export async function until(condition, what) {
  const end = Date.now() + SOON;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** No rule of axe of serious or critical weight is broken. */
export async function accessible(page, what) {
  // The policy of the page lets no script of others in, so it is run by the debugger.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const told = grave.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 4).map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary.replace(/\s+/g, " ")}`).join(" | ")}`);
  check(grave.length === 0, `${what}: ${told.join("\n")}`);
}

/** Nothing that is visible reaches beyond the sides of the window, except within boxes that scroll for themselves. */
export async function fits(page, what) {
  const beyond = await page.evaluate(() => {
    const wide = [];
    for (const element of document.body.querySelectorAll("*")) {
      const { left, right, width } = element.getBoundingClientRect();
      const hidden = width <= 1 || getComputedStyle(element).visibility === "hidden" || element.closest(".hidden, .table, pre, .skip");
      if (!hidden && (right > innerWidth + 0.5 || left < -0.5)) wide.push(`${element.tagName}.${element.className} ${Math.round(left)}..${Math.round(right)}`);
    }
    return wide;
  });
  same(beyond, [], `${what}: beyond the window`);
  const scrolls = await page.evaluate(() => document.scrollingElement.scrollWidth > innerWidth);
  check(!scrolls, `${what}: scrolls sideways`);
}
