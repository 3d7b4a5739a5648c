// What must be true of the page. Each test makes the documents it needs and opens a tab of its own.

import { Server, Wire, accessible, check, fits, open, same, until } from "./harness.mjs";

const TEA = "# Tée 🍵 und Käse\n\nÜber Grüntee: 🍵🍵 er zieht drei Minuten.\n\nThe Krötenlampe is switched on by pulling its left ear twice. It glows for seven hours.\n";
const HOSTILE = "# Gadget <img src=x onerror=\"window.hacked=1\">\n\nThe zorbulator <script>window.hacked=1</script> is cleaned <img src=x onerror=\"window.hacked=1\"> with <b>vinegar</b> every week.\n";

async function ready({ browser, server, files }, options = {}) {
  const page = await open(browser, options.server ?? server, { files, ...options });
  await page.locator("#app").waitFor();
  return page;
}

async function ask(page, question) {
  const before = await page.locator(".turn").count();
  await page.fill("#message", question);
  await page.keyboard.press("Enter");
  const turn = page.locator(".turn").nth(before);
  await turn.locator(".foot > *").first().waitFor();
  return turn;
}

async function over(page) {
  same(page.faults, [], "faults in the console");
  await page.context().close();
}

async function signing_in_needs_a_good_key(world) {
  const page = await open(world.browser, world.server, { files: world.files, key: null });
  await page.locator("#sign-in").waitFor();
  check(!(await page.locator("#app").isVisible()), "nothing is shown without a key");
  same(await page.locator("#gate .problem").count(), 0, "no fault before the first try");
  await accessible(page, "sign-in");
  await page.fill("#key-input", "agk_wrong");
  await page.keyboard.press("Enter");
  await page.getByText("This key is not accepted").waitFor();
  await page.fill("#key-input", world.server.key);
  await page.keyboard.press("Enter");
  await page.locator("#app").waitFor();
  check((await page.locator("#me-role").textContent()).includes("admin of local"), "who is there is shown");
  check(!(await page.evaluate(() => JSON.stringify(localStorage))).includes("agk_"), "the key stays in the tab");
  await over(page);
}

async function a_revoked_key_leads_to_the_sign_in_and_the_question_is_kept(world) {
  const { key, id } = world.server.makeKey("user", "ann");
  const page = await ready(world, { key });
  world.server.revoke(id);
  await new Promise((resolve) => setTimeout(resolve, 1200));
  await page.fill("#message", "Is anybody there?");
  await page.keyboard.press("Enter");
  await page.getByText("This key is not accepted").waitFor();
  await page.fill("#key-input", world.server.makeKey("user", "ann").key);
  await page.keyboard.press("Enter");
  await page.locator("#app").waitFor();
  same(await page.inputValue("#message"), "Is anybody there?", "the question is kept");
  await over(page);
}

async function nobody_is_asked_for_a_key_in_development(world) {
  const server = await Server.start(world.binary, {}, ["--insecure-dev"]);
  try {
    const page = await ready(world, { server });
    await page.getByText("There are no documents yet").waitFor();
    await page.getByRole("link", { name: "Documents", exact: true }).click();
    await page.setInputFiles("#files", [{ name: "tea.md", mimeType: "", buffer: Buffer.from(TEA) }]);
    await page.locator(".upload.stored").waitFor();
    await page.getByRole("link", { name: "Ask", exact: true }).click();
    await page.getByText("The answers rest on 1 document.").waitFor();
    await ask(page, "How is the Krötenlampe switched on?");
    await page.click("#account");
    same(await page.getByRole("button", { name: "Sign out" }).count(), 0, "there is nothing to sign out of");
    await over(page);
  } finally {
    await server.stop();
  }
}

async function who_signs_in_next_sees_nothing_of_the_one_before(world) {
  await world.server.put("tea.md", TEA);
  const [first, second] = [world.server.makeKey("user", "first"), world.server.makeKey("user", "second")];
  const page = await open(world.browser, world.server, { files: world.files, key: null });
  const signIn = async ({ key }) => { await page.fill("#key-input", key); await page.keyboard.press("Enter"); await page.locator("#app").waitFor(); };
  await page.locator("#sign-in").waitFor();
  await signIn(first);
  await ask(page, "How is the Krötenlampe switched on?");
  await page.locator("#sessions").getByText("How is the Krötenlampe").waitFor();
  world.server.revoke(first.id);
  await new Promise((resolve) => setTimeout(resolve, 1200));
  await page.fill("#message", "A secret question");
  await page.keyboard.press("Enter");
  await page.locator("#sign-in").waitFor();
  await signIn(second);
  await page.locator("#me-name").getByText("second").waitFor();
  await until(async () => !(await page.evaluate(() => document.body.textContent + JSON.stringify(sessionStorage))).includes("Krötenlampe"), "the conversation is gone");
  same(await page.inputValue("#message"), "", "the draft is gone");
  await over(page);
}

async function a_citation_opens_its_document_with_the_quotation_marked(world) {
  await world.server.put("tea.md", TEA);
  const page = await ready(world);
  const question = "How is the Krötenlampe switched on?";
  const turn = await ask(page, question);
  const { citations: [citation] } = await world.server.call("POST", "/chat", JSON.stringify({ message: question }));
  check((await page.locator("#panel .card").count()) > 0, "the sources are beside the answer");
  await turn.locator(".cite").first().click();
  await page.locator("#panel mark.current").waitFor();
  same(await page.locator("#panel mark.current").textContent(), citation.quote, "what is marked");
  same(await page.locator("#panel .reader").textContent(), TEA, "the whole document");
  const seen = await page.locator("#panel mark.current").evaluate((mark) => mark.getBoundingClientRect().top < innerHeight);
  check(seen, "the quotation is in sight");
  await page.click("#panel-back");
  check((await page.locator("#panel .card mark").count()) > 0, "the quotation is marked in its passage too");
  await accessible(page, "chat");
  await over(page);
}

async function nothing_from_documents_or_models_becomes_markup(world) {
  const hostile = { "hostile.md": HOSTILE, "<img src=x onerror='window.hacked=1'>.md": HOSTILE };
  for (const server of [world.server, world.slow]) for (const [id, text] of Object.entries(hostile)) await server.put(id, text);
  world.model.answer = "# <img src=x onerror='window.hacked=1'>\n\n- **<b>bold</b>** [1] `<script>`\n- [go](javascript:window.hacked=1)\n\n| <i>a</i> | b |\n|---|---|\n| <img src=x onerror='window.hacked=1'> | 2 [1] |\n\n```html\n<script>window.hacked=1</script>\n```\n";
  for (const server of [world.server, world.slow]) {
    const page = await ready(world, { server });
    const turn = await ask(page, "How is the zorbulator cleaned? <img src=x onerror='window.hacked=1'>");
    check((await turn.locator(".question").textContent()).includes("<img src=x"), "the question is shown as it was written");
    await turn.locator(".cite").first().click();
    await page.locator("#panel .reader").waitFor();
    check((await page.locator("#panel .reader").textContent()).includes("<script>window.hacked=1</script>"), "the document is shown as it is");
    await page.goto(`${server.url}/#/search?q=zorbulator`);
    await page.locator(".hit").first().waitFor();
    await page.goto(`${server.url}/#/documents`);
    await page.locator("#documents tr").first().waitFor();
    await page.goto(`${server.url}/#/operation`);
    await page.locator("#operation-audit table").first().waitFor();
    same(await page.evaluate(() => [window.hacked ?? null, document.querySelectorAll("img, iframe, b, i, body script, a[href^=javascript]").length]), [null, 0], "nothing ran, nothing became an element");
    await over(page);
  }
  world.model.answer = null;
}

async function markdown_of_a_model_is_shown_as_lists_tables_and_code(world) {
  await world.slow.put("tea.md", TEA);
  world.model.answer = "## How\n\n1. Pull the **left** ear [1]\n2. Wait\n   - a minute\n   - or two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\nlet x = *y*;\n```\n\n> quoted\n";
  const page = await ready(world, { server: world.slow });
  const turn = await ask(page, "How is the Krötenlampe switched on?");
  const counts = await turn.locator(".text").evaluate((text) => ["p.heading", "ol > li", "ol ul > li", "strong", "table td", "pre code", "blockquote", ".cite"].map((what) => text.querySelectorAll(what).length));
  same(counts, [1, 2, 2, 1, 2, 1, 1, 1], "the elements");
  same(await turn.locator("pre").textContent(), "let x = *y*;", "code is left alone");
  world.model.answer = ">".repeat(20_000) + "- ".repeat(20_000) + "**".repeat(5_000) + "`".repeat(5_000) + "|".repeat(5_000);
  await ask(page, "And what does a mad model say?");
  world.model.answer = null;
  await over(page);
}

async function stopping_stops_the_model_too(world) {
  await world.slow.put("tea.md", TEA);
  const page = await ready(world, { server: world.slow });
  for (const stop of [() => page.click("#stop"), () => page.keyboard.press("Escape")]) {
    const left = world.model.left;
    await page.fill("#message", "How is the Krötenlampe switched on?");
    await page.keyboard.press("Enter");
    const turn = page.locator(".turn").last();
    await until(async () => (await turn.locator(".text").textContent()).includes("word word word"), "the answer streams");
    const spoken = await page.locator("#status").textContent();
    check(!spoken.includes("word"), "screen readers are not told every word");
    await stop();
    await turn.getByText("Stopped").waitFor();
    await until(() => world.model.left > left, "the model is told to stop");
    check(await page.locator("#send").isVisible(), "the next question can be sent");
    check((await turn.locator(".text").textContent()).includes("word"), "what was said stays");
  }
  await over(page);
}

async function a_lost_connection_is_taken_up_again(world) {
  await world.slow.put("tea.md", TEA);
  const wire = await Wire.to(world.slow);
  const page = await ready(world, { server: { url: wire.url, key: world.slow.key } });
  const left = world.model.left;
  await page.fill("#message", "How is the Krötenlampe switched on?");
  await page.keyboard.press("Enter");
  const words = async () => (await page.locator(".turn .text").textContent()).split("word").length;
  await until(async () => (await words()) > 5, "the answer streams");
  wire.cut();
  const before = await words();
  await until(async () => (await words()) > before + 20, "it goes on");
  same([world.model.left, await page.locator(".problem").count()], [left, 0], "the same run, and nobody is troubled");
  await page.keyboard.press("Escape");
  await page.locator(".turn").getByText("Stopped").waitFor();
  await until(() => world.model.left > left, "the model is told to stop");
  await over(page);
  wire.stop();
}

async function too_many_requests_wait_their_time_and_go_on(world) {
  await world.server.put("tea.md", TEA);
  const page = await ready(world);
  let asked = 0;
  await page.route("**/chat", (route) => {
    asked += 1;
    if (asked > 1) return route.fallback();
    return route.fulfill({ status: 429, headers: { "content-type": "application/problem+json", "retry-after": "2" }, body: JSON.stringify({ title: "Too many requests", status: 429, detail: "one may ask again in 2 seconds" }) });
  });
  await page.fill("#message", "How is the Krötenlampe switched on?");
  const begun = Date.now();
  await page.keyboard.press("Enter");
  await page.locator(".turn").getByText("The question is asked again in").waitFor();
  await page.locator(".turn .cite").first().waitFor();
  check(asked === 2 && Date.now() - begun >= 1900, "it is asked again when it may be");
  same(await page.locator(".problem").count(), 0, "the notice is gone");
  await over(page);
}

async function failures_say_what_to_do_and_can_be_tried_again(world) {
  await world.server.put("tea.md", TEA);
  const page = await ready(world);
  await page.route("**/chat", (route) => route.abort());
  await page.fill("#message", "How is the Krötenlampe switched on?");
  await page.keyboard.press("Enter");
  await page.getByText("The service cannot be reached").waitFor();
  await page.getByText("Check that it is running").waitFor();
  await page.unroute("**/chat");
  await page.route("**/chat", (route) => route.fulfill({ status: 200, headers: { "content-type": "text/event-stream" }, body: 'data: {"seq":0,"type":"started","trace_id":"0123"}\n\ndata: {"seq":1,"type":"delta","text":"half an ans"}\n\n' }));
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText("The connection was lost").waitFor();
  check(await page.getByText("half an ans").isVisible(), "what had come stays");
  await page.unroute("**/chat");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator(".turn .cite").first().waitFor();
  same(await page.locator(".turn").count(), 1, "the failed tries are gone");
  await over(page);
}

async function conversations_are_listed_renamed_exported_and_deleted(world) {
  await world.server.put("tea.md", TEA);
  const { key } = world.server.makeKey("user", "sessions");
  const page = await ready(world, { key });
  await ask(page, "How is the Krötenlampe switched on?");
  await page.locator("#sessions").getByText("How is the Krötenlampe switched on?").waitFor();
  await page.click("#new-chat");
  await ask(page, "How long does Grüntee take?");
  await until(async () => (await page.locator("#sessions li").count()) === 2, "both are listed");
  same((await page.locator("#sessions a").allTextContents())[0], "How long does Grüntee take?", "the newest is first");
  await page.reload();
  await page.locator(".turn .cite").first().waitFor();
  same(await page.locator(".question").allTextContents(), ["How long does Grüntee take?"], "a reload brings the conversation back, with its sources");
  await page.locator("#sessions a").last().click();
  await page.locator(".turn .question", { hasText: "Krötenlampe" }).waitFor();
  await page.getByRole("button", { name: "Options of How is the Krötenlampe switched on?" }).click();
  await accessible(page, "dialog");
  const saved = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export" }).click();
  same((await saved).suggestedFilename(), "conversation.json", "the file");
  await page.getByRole("button", { name: "Options of How is the Krötenlampe switched on?" }).click();
  await page.getByLabel("Title").fill("Lämp 🐸");
  await page.keyboard.press("Enter");
  await page.locator("#sessions").getByText("Lämp 🐸").waitFor();
  await page.getByRole("button", { name: "Options of Lämp 🐸" }).click();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByText("cannot be brought back").waitFor();
  await page.getByRole("button", { name: "Delete" }).click();
  await until(async () => (await page.locator("#sessions li").count()) === 1, "one is left");
  check(await page.locator("#welcome").isVisible(), "the deleted conversation is not shown any more");
  await over(page);
}

async function feedback_reaches_the_service(world) {
  await world.server.put("tea.md", TEA);
  const page = await ready(world);
  const turn = await ask(page, "How is the Krötenlampe switched on?");
  await turn.getByRole("button", { name: "A bad answer" }).click();
  await turn.getByText("Wrong sources").click();
  await turn.getByLabel("Comment").fill("It has <b>two</b> ears");
  await turn.getByRole("button", { name: "Send" }).click();
  await page.locator(".toast").getByText("Thank you").waitFor();
  same(await turn.getByRole("button", { name: "A bad answer" }).getAttribute("aria-pressed"), "true", "the thumb");
  const { feedback } = await world.server.call("GET", "/feedback");
  const given = feedback.find((one) => one.comment === "It has <b>two</b> ears");
  same([given?.rating, given?.reason], ["down", "sources"], "what is stored");
  await page.goto(`${world.server.url}/#/operation`);
  await page.locator("#operation-feedback").getByText("It has <b>two</b> ears").waitFor();
  await over(page);
}

async function files_are_uploaded_listed_and_deleted(world) {
  const page = await ready(world);
  await page.getByRole("link", { name: "Documents", exact: true }).click();
  const file = (name, text) => ({ name, mimeType: "", buffer: Buffer.from(text) });
  await page.setInputFiles("#files", [file("one.md", "# One\n\nThe first."), file("two.txt", "The second."), file("code.rs", "fn main() {}\n"), file("broken.pdf", "no pdf"), file("odd.bin", [0xff, 0xfe])]);
  await until(async () => (await page.locator(".upload.stored, .upload.failed").count()) === 5, "all are over");
  const outcomes = await page.locator(".upload").evaluateAll((items) => Object.fromEntries(items.map((item) => [item.querySelector(".upload-name").textContent, item.className])));
  same(outcomes["one.md"] + outcomes["two.txt"] + outcomes["code.rs"], "upload stored".repeat(3), "the good ones");
  same(outcomes["broken.pdf"] + outcomes["odd.bin"], "upload failed".repeat(2), "the bad ones");
  await page.evaluate(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File(["# One\n\nThe first."], "one.md"));
    transfer.items.add(new File(["Dropped."], "dropped.txt"));
    for (const type of ["dragover", "drop"]) document.getElementById("drop").dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  });
  await page.getByText("Unchanged, it was stored already").waitFor();
  await page.locator("#documents").getByText("dropped.txt").first().waitFor();
  await accessible(page, "documents");
  await page.locator("#documents").getByRole("button", { name: "One", exact: true }).click();
  await page.locator("#panel .reader").getByText("The first.").waitFor();
  await page.getByRole("button", { name: /^Delete One/ }).click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.locator(".toast").getByText("is deleted").waitFor();
  const { documents } = await world.server.call("GET", "/documents?limit=1000");
  check(!documents.some(({ id }) => id === "one.md") && documents.some(({ id }) => id === "code.rs"), "what is there");
  await over(page);
}

async function documents_with_odd_ids_can_be_read_and_deleted(world) {
  const ids = ["a/../b", "a//b", "100% & more?#.md", "a b/c+d.md", "ü/🍵.md", "%2e%2e"];
  for (const id of ids) await world.server.put(id, `The id is ${id} here.`, "text/plain");
  const page = await ready(world);
  await page.goto(`${world.server.url}/#/documents`);
  for (const id of ids) {
    await page.locator("#documents").getByRole("button", { name: id, exact: true }).click();
    await page.locator("#panel .reader").getByText(`The id is ${id} here.`, { exact: true }).waitFor();
    await page.getByRole("button", { name: `Delete ${id}`, exact: true }).click();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await until(async () => (await page.locator("#documents").getByRole("button", { name: id, exact: true }).count()) === 0, `${id} is gone`);
  }
  await over(page);
}

async function hits_say_why_they_were_found(world) {
  await world.server.put("tea.md", TEA);
  const page = await ready(world);
  await page.getByRole("link", { name: "Search" }).click();
  await page.fill("#search-query", "Krötenlampe ear");
  await page.keyboard.press("Enter");
  const hit = page.locator(".hit").first();
  await hit.getByText("Words").waitFor();
  check((await hit.locator(".why").textContent()).includes("Meaning"), "both legs are named");
  await hit.getByText("The whole computation").click();
  check((await hit.locator(".tree").first().textContent()).includes("relative"), "the derivation");
  await page.getByText("Words", { exact: true }).first().click();
  await page.getByRole("button", { name: "Search", exact: true }).click();
  await until(async () => !(await page.locator(".hit").first().locator(".why").textContent()).includes("Meaning"), "words alone");
  await accessible(page, "search");
  await page.locator(".hit-title").first().click();
  await page.locator("#panel mark.current").waitFor();
  await over(page);
}

const METRICS = `# HELP agentkit_http_requests_total Requests.
# TYPE agentkit_http_requests_total counter
agentkit_http_requests_total{method="POST",route="/chat",status="2xx"} 41
agentkit_http_requests_total{method="POST",route="/chat",status="5xx"} 1
# TYPE agentkit_http_request_duration_seconds histogram
agentkit_http_request_duration_seconds_bucket{method="POST",route="/chat",le="0.2"} 42
agentkit_http_request_duration_seconds_sum{method="POST",route="/chat"} 4.2
agentkit_http_request_duration_seconds_count{method="POST",route="/chat"} 42
# TYPE agentkit_odd gauge
agentkit_odd{name="a \\"quoted\\" <img src=x onerror='window.hacked=1'>"} NaN
process_resident_memory_bytes 60690432.0
`;

async function metrics_are_read_where_the_service_has_some(world) {
  const page = await ready(world);
  await page.route("**/metrics", (route) => route.fulfill({ status: 200, contentType: "text/plain", body: METRICS }));
  await page.getByRole("link", { name: "Operation", exact: true }).click();
  const row = page.locator("#operation-metrics tbody tr").first();
  await row.waitFor();
  same(await row.locator("td").allTextContents(), ["POST /chat", "42", "1", "100 ms"], "the requests");
  check(await page.locator("#operation-metrics").getByText("60.7 MB").isVisible(), "the memory");
  await page.unroute("**/metrics");
  await page.route("**/metrics", (route) => route.fulfill({ status: 404, contentType: "application/problem+json", body: "{}" }));
  await page.click("#operation-refresh");
  await page.getByText("This service does not offer it.").waitFor();
  await over(page);
}

/** Longer than what is shown at once, with characters of every length, and one sentence to be found in its middle. */
const LONG = `# Chronicle\n\n${"Äpfel, 🍐 und ein € im Korb, Tag um Tag.\n".repeat(6000)}\nThe quartz heron weighs exactly ninety-one gräms 🪶.\n\n${"Später 🌧 gab es Regen.\n".repeat(6000)}`;

async function a_quotation_deep_in_a_long_document_is_found(world) {
  await world.server.call("PUT", "/documents/long.txt", LONG, "text/plain");
  const page = await ready(world);
  await page.getByRole("link", { name: "Search", exact: true }).click();
  await page.fill("#search-query", "quartz heron weighs");
  await page.getByText("Words", { exact: true }).click();
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Search", exact: true }).click();
  await page.locator(".hit-title").first().click();
  const mark = page.locator("#panel mark.current");
  await mark.waitFor();
  const { hits: [hit] } = await world.server.call("POST", "/search", JSON.stringify({ query: "quartz heron weighs", top_k: 1, plan: { lexical: { candidates: 100 } } }));
  const bytes = Buffer.from(LONG).subarray(hit.span.start, hit.span.end).toString();
  check(bytes.includes("quartz heron"), "the hit");
  same(await mark.textContent(), bytes, "what is marked");
  const length = async () => (await page.locator("#panel .reader").textContent()).length;
  const before = await length();
  check(before < 60_000 && before < LONG.length / 4, "only a part is shown at first");
  await page.getByRole("button", { name: "Show earlier text" }).click();
  await page.getByRole("button", { name: "Show later text" }).click();
  check((await length()) > before + 40_000, "more on demand");
  same(await mark.textContent(), bytes, "the mark stays");
  check(LONG.includes(await page.locator("#panel .reader").textContent()), "what is shown is the text");
  await over(page);
}

async function another_collection_can_be_chosen(world) {
  await world.server.call("PUT", "/documents/note?collection=manuals", "The paper lantern burns for two evenings.", "text/plain");
  const page = await ready(world);
  await page.click("#account");
  await page.getByLabel("Collection of documents").fill("manuals");
  await page.keyboard.press("Enter");
  await page.locator(".toast").getByText("manuals").waitFor();
  const turn = await ask(page, "How long does the paper lantern burn?");
  await turn.locator(".cite").first().click();
  await page.locator("#panel .reader").getByText("paper lantern").waitFor();
  await page.getByRole("link", { name: "Documents", exact: true }).click();
  await until(async () => (await page.locator("#documents tr").count()) === 1, "its only document");
  await over(page);
}

async function personal_data_is_taken_along_and_erased(world) {
  const { key } = world.server.makeKey("editor", "leaving");
  const page = await ready(world, { key });
  await ask(page, "Does anybody keep this?");
  await page.locator("#sessions").getByText("Does anybody keep this?").waitFor();
  await page.click("#account");
  const saved = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save everything as a file" }).click();
  const chunks = await (await (await saved).createReadStream()).toArray();
  check(Buffer.concat(chunks).toString().includes("Does anybody keep this?"), "the conversation is in the file");
  await page.getByRole("button", { name: "Erase everything" }).click();
  await page.getByText("cannot be brought back").waitFor();
  await page.getByRole("button", { name: "Erase everything" }).click();
  await page.locator(".toast").getByText("is being erased").waitFor();
  await until(async () => (await page.locator("#sessions li").count()) === 0, "no conversation is listed");
  await page.click("#account");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.locator("#sign-in").waitFor();
  same(await page.evaluate(() => Object.keys(sessionStorage).filter((name) => name !== "left")), [], "nothing is left in the tab");
  await over(page);
}

async function each_role_sees_what_it_may(world) {
  const views = async (role) => {
    const page = await ready(world, { key: world.server.makeKey(role, `views-${role}`).key });
    const names = await page.locator(".views li:visible").allTextContents();
    return [page, names.map((name) => name.trim())];
  };
  const [admin, ofAdmin] = await views("admin");
  same(ofAdmin, ["Ask", "Search", "Documents", "Operation"], "an admin");
  await admin.getByRole("link", { name: "Operation", exact: true }).click();
  for (const id of ["health", "index", "audit", "feedback"]) await admin.locator(`#operation-${id} .card-body > *`).first().waitFor();
  check(await admin.locator("#operation-health").getByText("Ready").isVisible(), "health");
  await admin.locator("#operation-metrics .card-body > *").first().waitFor();
  await admin.locator("#operation-jobs").getByText("Nobody has sent many documents at once yet.").waitFor();
  const named = (id, text) => ({ id, document: { text } });
  const { id } = await world.server.call("POST", "/jobs", JSON.stringify({ documents: [named("by-job-1", "It is green."), named("by-job-2", " ")] }));
  await until(async () => (await world.server.call("GET", `/jobs/${id}`)).status === "done", "the job is over");
  await admin.click("#operation-refresh");
  const job = admin.locator("#operation-jobs tbody tr").first();
  await job.getByText("done").waitFor();
  same((await job.locator("td").allTextContents()).slice(1), ["default", "done", "2", "1", "1"], "the job");
  await accessible(admin, "operation");
  await over(admin);
  const [auditor, ofAuditor] = await views("auditor");
  same(ofAuditor, ["Operation"], "an auditor");
  await auditor.locator("#operation-audit table").first().waitFor();
  check(!(await auditor.locator("#operation-feedback").isVisible()), "what an auditor may not see is left out");
  await over(auditor);
  const [user, ofUser] = await views("user");
  same(ofUser, ["Ask", "Search", "Documents"], "a user");
  await user.getByRole("link", { name: "Documents", exact: true }).click();
  await user.locator("#documents-notes > *").first().waitFor();
  check(!(await user.locator("#drop").isVisible()) && (await user.locator("#documents .icon").count()) === 0, "a user changes no documents");
  await over(user);
}

async function the_keyboard_is_enough(world) {
  await world.server.put("tea.md", TEA);
  const page = await ready(world);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("/");
  same(await page.evaluate(() => document.activeElement.id), "message", "/ goes to the question");
  await page.keyboard.type("How is the");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("Krötenlampe switched on?");
  check((await page.inputValue("#message")).includes("\n"), "Shift+Enter starts a new line");
  await page.keyboard.press("Enter");
  await page.locator(".cite").first().waitFor();
  await page.locator(".cite").first().focus();
  await page.keyboard.press("Enter");
  await page.locator("#panel mark.current").waitFor();
  await page.keyboard.press("Escape");
  check(!(await page.locator("#panel").isVisible()), "Escape closes the panel");
  check(await page.evaluate(() => document.activeElement.classList.contains("cite")), "the focus is back at the citation");
  await page.reload();
  await page.locator("#app").waitFor();
  await page.keyboard.press("Tab");
  same(await page.evaluate(() => document.activeElement.id), "skip", "the first stop is the skip link");
  check((await page.locator("#skip").evaluate((link) => link.getBoundingClientRect().top)) >= 0, "it can be seen");
  const outline = await page.locator("#skip").evaluate((link) => getComputedStyle(link).outlineStyle);
  same(outline, "solid", "the focus can be seen");
  await over(page);
}

async function everything_fits_on_a_phone(world) {
  await world.server.put("tea.md", TEA);
  await world.server.put("a-rather-long-name-without-any-space-in-it-at-all-because-some-people-do-that/notes.txt", `${"Unbreakable".repeat(40)}\n`, "text/plain");
  for (const colorScheme of ["light", "dark"]) {
    const page = await ready(world, { width: 360, height: 720, colorScheme });
    const look = async (what) => { await fits(page, `${what}, ${colorScheme}`); await accessible(page, `${what}, ${colorScheme}`); };
    same(await page.evaluate(() => document.documentElement.dataset.theme), colorScheme, "the theme");
    await look("welcome");
    const turn = await ask(page, "How is the Krötenlampe switched on? " + "Ohneleerzeichen".repeat(12));
    await look("chat");
    check(!(await page.locator("#panel").isVisible()), "the sources do not cover the answer");
    await turn.getByRole("button", { name: /sources? cited|passages? found/ }).click();
    await page.locator("#panel .card").first().waitFor();
    await look("sources");
    await page.locator("#panel .card-foot button").first().click();
    await page.locator("#panel .reader").waitFor();
    await look("document");
    await page.click("#panel-close");
    await page.click("#menu");
    await page.locator("#side").waitFor();
    await look("menu");
    await page.getByRole("link", { name: "Search" }).click();
    await page.fill("#search-query", "Krötenlampe unbreakable");
    await page.keyboard.press("Enter");
    await page.locator(".hit").first().waitFor();
    await look("search");
    for (const [view, seen] of [["documents", "#documents tr"], ["operation", "#operation-audit table"]]) {
      await page.goto(`${world.server.url}/#/${view}`);
      await page.locator(seen).first().waitFor();
      await look(view);
    }
    await over(page);
  }
}

async function the_theme_follows_the_system_until_it_is_chosen(world) {
  const page = await ready(world, { colorScheme: "dark" });
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  same(await theme(), "dark", "the system's");
  await accessible(page, "dark");
  await page.locator("#side .theme").click();
  same(await theme(), "light", "chosen");
  await page.reload();
  same(await theme(), "light", "it stays chosen");
  await over(page);
}

async function text_from_right_to_left_is_set_so(world) {
  await world.server.put("lamp-ar.txt", "المصباح الأخضر يضيء سبع ساعات في الليل.\n", "text/plain");
  const page = await ready(world);
  const turn = await ask(page, "كم ساعة يضيء المصباح الأخضر؟");
  const direction = (locator) => locator.evaluate((element) => getComputedStyle(element).direction);
  same(await direction(turn.locator(".question")), "rtl", "the question");
  await page.getByRole("link", { name: "Search" }).click();
  await page.fill("#search-query", "المصباح");
  same(await direction(page.locator("#search-query")), "rtl", "what is typed");
  await over(page);
}

async function motion_is_reduced_on_demand(world) {
  await world.slow.put("tea.md", TEA);
  for (const reducedMotion of ["reduce", "no-preference"]) {
    const page = await ready(world, { server: world.slow, reducedMotion });
    await page.fill("#message", "How is the Krötenlampe switched on?");
    await page.keyboard.press("Enter");
    await until(async () => (await page.locator(".text.running").count()) === 1 && (await page.locator(".text.running").textContent()).includes("word"), "it streams");
    // The text is made anew with every word, so the cursor is looked up and asked at once.
    const name = await page.evaluate(() => getComputedStyle(document.querySelector(".text.running > :last-child"), "::after").animationName);
    same(name, reducedMotion === "reduce" ? "none" : "blink", "the cursor");
    await page.click("#stop");
    await page.locator(".turn").getByText("Stopped").waitFor();
    await over(page);
  }
}

async function the_reference_shows_every_route_and_schema(world) {
  const page = await open(world.browser, world.server, { files: world.files, key: null });
  for (const [width, height] of [[1280, 800], [390, 844]]) {
    await page.setViewportSize({ width, height });
    await page.goto(`${world.server.url}/${world.files ? "page/reference.html" : "reference"}`);
    await page.locator("#schema-Filter").waitFor();
    const description = await (await fetch(`${world.server.url}/openapi.json`)).json();
    const routes = Object.values(description.paths).flatMap((item) => Object.keys(item).filter((name) => ["get", "put", "post", "patch", "delete"].includes(name)));
    same(await page.locator(".operation").count(), routes.length, "a box for each route");
    same(await page.locator(".schema").count(), Object.keys(description.components.schemas).length, "a box for each schema");
    await page.getByRole("link", { name: "POST /chat", exact: true }).click();
    check((await page.locator("#post--chat").textContent()).includes("ChatRequest"), "what it takes");
    await page.locator("#post--chat").getByRole("link", { name: "ChatRequest" }).first().click();
    check(page.url().endsWith("#schema-ChatRequest"), "where its form is described");
    await accessible(page, `the reference at ${width}`);
    await fits(page, `the reference at ${width}`);
  }
  await over(page);
}

export const tests = {
  the_reference_shows_every_route_and_schema,
  signing_in_needs_a_good_key, a_revoked_key_leads_to_the_sign_in_and_the_question_is_kept,
  nobody_is_asked_for_a_key_in_development, who_signs_in_next_sees_nothing_of_the_one_before,
  a_citation_opens_its_document_with_the_quotation_marked, nothing_from_documents_or_models_becomes_markup,
  markdown_of_a_model_is_shown_as_lists_tables_and_code, stopping_stops_the_model_too, a_lost_connection_is_taken_up_again, too_many_requests_wait_their_time_and_go_on,
  failures_say_what_to_do_and_can_be_tried_again, conversations_are_listed_renamed_exported_and_deleted, feedback_reaches_the_service,
  files_are_uploaded_listed_and_deleted, documents_with_odd_ids_can_be_read_and_deleted, hits_say_why_they_were_found, each_role_sees_what_it_may, the_keyboard_is_enough,
  everything_fits_on_a_phone, the_theme_follows_the_system_until_it_is_chosen, text_from_right_to_left_is_set_so,
  motion_is_reduced_on_demand, metrics_are_read_where_the_service_has_some, a_quotation_deep_in_a_long_document_is_found,
  another_collection_can_be_chosen, personal_data_is_taken_along_and_erased,
};
