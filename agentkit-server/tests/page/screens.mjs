// Photographs of every view, wide and narrow, light and dark, to be looked at.

import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { open } from "./harness.mjs";

const DOCS = join(import.meta.dirname, "..", "..", "..", "docs");
const SIZES = { wide: { width: 1440, height: 900 }, phone: { width: 360, height: 740 } };

export async function screens({ browser, server, slow, files }, folder) {
  mkdirSync(folder, { recursive: true });
  for (const each of [server, slow]) {
    for (const name of readdirSync(DOCS).filter((name) => name.endsWith(".md"))) await each.put(`docs/${name}`, readFileSync(join(DOCS, name)));
  }
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ["light", "dark"]) await tour({ browser, server, slow, files }, folder, `${size}-${colorScheme}`, { ...viewport, colorScheme });
  }
}

async function tour({ browser, server, slow, files }, folder, name, options) {
  const gate = await open(browser, server, { files, key: "agk_wrong", ...options });
  await gate.locator("#gate .problem").waitFor();
  await gate.screenshot({ path: join(folder, `${name}-0-sign-in.png`) });
  await gate.context().close();

  const page = await open(browser, server, { files, ...options });
  const shot = async (view) => {
    await page.waitForTimeout(300);
    await page.screenshot({ path: join(folder, `${name}-${view}.png`) });
  };
  await page.locator("#examples button").first().waitFor();
  await shot("1-welcome");
  await page.locator("#examples button").last().click();
  await page.locator(".thumbs").waitFor();
  await page.fill("#message", "What survives a power loss?");
  await page.keyboard.press("Enter");
  await page.locator(".thumbs").nth(1).waitFor();
  await shot("2-chat");
  await page.locator(".turn").last().getByRole("button", { name: "A bad answer" }).click();
  await shot("3-feedback");
  await page.locator(".turn").last().locator(".cite").first().click();
  await page.locator("#panel mark.current").waitFor();
  await shot("4-document");
  await page.click("#panel-close");
  if (await page.locator("#menu").isVisible()) {
    await page.click("#menu");
    await shot("5-menu");
  }
  await page.goto(`${server.url}/#/search?q=listen%20address`);
  await page.locator(".hit").first().waitFor();
  await shot("6-search");
  await page.goto(`${server.url}/#/documents`);
  await page.locator("#documents tr").first().waitFor();
  await page.setInputFiles("#files", [{ name: "notes.md", mimeType: "", buffer: Buffer.from("# Notes\n\nSome notes.") }, { name: "broken.pdf", mimeType: "", buffer: Buffer.from("no") }]);
  await page.locator(".upload.failed").waitFor();
  await page.locator(".upload.stored").waitFor();
  await shot("7-documents");
  await page.goto(`${server.url}/#/operation`);
  await page.locator("#operation-audit table").first().waitFor();
  await shot("8-operation");
  await page.locator("#view-operation").evaluate((view) => view.scrollTo(0, 900));
  await shot("9-operation-below");
  if (await page.locator("#menu").isVisible()) await page.click("#menu");
  await page.click("#account");
  await page.locator("dialog").waitFor();
  await shot("10-account");
  await page.context().close();
}
