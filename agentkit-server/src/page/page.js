// The page's behaviour: sends questions, reads the stream of events, shows the answer and its sources.
// Nothing that came from a document or a model is ever parsed as HTML: everything goes in as text.
"use strict";

const EXAMPLES = [
  "What is agentkit and who is it for?",
  "How does the index stay consistent after a crash?",
  "How are answers cited?",
  "How do I run the tests?",
];
const byId = (id) => document.getElementById(id);
const page = {
  scroller: byId("scroller"), welcome: byId("welcome"), turns: byId("turns"), composer: byId("composer"),
  message: byId("message"), send: byId("send"), stop: byId("stop"), panel: byId("sources-panel"),
  sources: byId("sources"), sourcesEmpty: byId("sources-empty"), toggle: byId("sources-toggle"), status: byId("status"),
};
const state = { session: newSession(), running: null, shown: null };

function newSession() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return "page-" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Keeps the conversation over a reload of the tab; storage may be forbidden, which is no reason to fail. */
function remember(key, value) {
  try { sessionStorage.setItem(key, value); } catch { /* the page works without */ }
}
function recall(key) {
  try { return sessionStorage.getItem(key); } catch { return null; }
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// ---- the conversation -------------------------------------------------------------------------------------

function newTurn(question) {
  const item = make("li", "turn");
  const asked = make("p", "question");
  asked.append(make("span", "hidden", "You asked: "), question);
  const answer = make("article", "answer");
  answer.setAttribute("aria-label", "Answer");
  const text = make("div", "text running");
  const foot = make("div", "foot");
  answer.append(text, foot);
  item.append(asked, answer);
  page.turns.append(item);
  page.welcome.hidden = true;
  const turn = { question, item, text, foot, raw: "", sources: [], citations: [], outcome: null, failed: false };
  item.turn = turn;
  return turn;
}

/** The answer's text with each [n] as a button, if there is a source n. */
function renderText(turn) {
  const parts = document.createDocumentFragment();
  let from = 0;
  for (const match of turn.raw.matchAll(/\[(\d{1,3})\]/g)) {
    const number = Number(match[1]);
    if (!turn.sources.some((source) => source.number === number)) continue;
    parts.append(unwrapped(turn.raw.slice(from, match.index)), citeButton(turn, number));
    from = match.index + match[0].length;
  }
  parts.append(unwrapped(turn.raw.slice(from)));
  turn.text.replaceChildren(parts);
}

/** A line that only ends because the source is wrapped there goes on; paragraphs and lists stay. */
function unwrapped(text) {
  return text.replace(/([^\n])\n(?=[\p{L}`"'“(])/gu, "$1 ");
}

function citeButton(turn, number) {
  const source = turn.sources.find((candidate) => candidate.number === number);
  const button = make("button", "cite", String(number));
  button.type = "button";
  button.setAttribute("aria-label", `Source ${number}: ${source.title || source.document_id}`);
  button.addEventListener("click", () => showSource(turn, number, button));
  return button;
}

function renderFoot(turn) {
  turn.foot.replaceChildren();
  if (turn.outcome === "refused") turn.foot.append(make("span", "tag", "Not in the documents"));
  if (turn.outcome === "truncated") turn.foot.append(make("span", "tag", "Cut off at the length limit"));
  if (turn.outcome === "stopped") turn.foot.append(make("span", "tag", "Stopped"));
  if (turn.sources.length > 0) {
    const cited = new Set(turn.citations.map((citation) => citation.number)).size;
    const label = cited > 0 ? `${cited} of ${turn.sources.length} sources cited` : `${turn.sources.length} passages found`;
    const show = make("button", "", label);
    show.type = "button";
    show.addEventListener("click", () => { showSources(turn); openPanel(true); });
    turn.foot.append(show);
  }
  if (turn.outcome === "answered") {
    const copy = make("button", "", "Copy");
    copy.type = "button";
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(turn.raw);
      copy.textContent = "Copied";
    });
    turn.foot.append(copy);
  }
}

function renderError(turn, title, detail) {
  turn.failed = true;
  const box = make("div", "error");
  box.setAttribute("role", "alert");
  box.append(make("strong", "", title), make("span", "", detail));
  const again = make("button", "", "Try again");
  again.type = "button";
  again.addEventListener("click", () => { if (!state.running) { turn.item.remove(); ask(turn.question); } });
  box.append(document.createElement("br"), again);
  turn.foot.before(box);
}

function atBottom() {
  return page.scroller.scrollHeight - page.scroller.scrollTop - page.scroller.clientHeight < 80;
}
function toBottom() {
  page.scroller.scrollTop = page.scroller.scrollHeight;
}

// ---- the sources ------------------------------------------------------------------------------------------

/** Byte offsets of UTF-8 as the service counts them, turned into offsets of this text. */
function sliceBytes(text, start, end) {
  const bytes = new TextEncoder().encode(text);
  const decoder = new TextDecoder();
  const at = (from, to) => decoder.decode(bytes.subarray(from, to));
  return [at(0, start), at(start, end), at(end, bytes.length)];
}

/** The quoted byte ranges within a source's passage, in order and without overlaps. */
function quotedRanges(turn, source) {
  const ranges = turn.citations
    .filter((citation) => citation.number === source.number && citation.chunk_id === source.chunk_id)
    .map((citation) => [citation.span.start - source.span.start, citation.span.end - source.span.start])
    .filter(([start, end]) => start >= 0 && end <= source.span.end - source.span.start && start < end)
    .sort((a, b) => a[0] - b[0]);
  const merged = [];
  for (const [start, end] of ranges) {
    const last = merged[merged.length - 1];
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
}

function passage(turn, source) {
  const element = make("div", "passage");
  let rest = source.text;
  let consumed = 0;
  for (const [start, end] of quotedRanges(turn, source)) {
    const [before, quoted, after] = sliceBytes(rest, start - consumed, end - consumed);
    element.append(before, make("mark", "", quoted));
    rest = after;
    consumed = end;
  }
  element.append(rest);
  return element;
}

function card(turn, source) {
  const cited = turn.citations.some((citation) => citation.number === source.number);
  const item = make("li", "card" + (cited ? " cited" : ""));
  item.dataset.number = source.number;
  const details = make("details");
  details.open = cited;
  const summary = make("summary");
  const locator = source.locator || {};
  const place = [
    source.title ? source.document_id : null,
    (locator.heading_path || []).join(" › ") || null,
    locator.page ? `page ${locator.page}` : null,
    locator.row ? `row ${locator.row}` : null,
  ];
  summary.append(
    make("span", "number", String(source.number)),
    make("span", "title", source.title || source.document_id),
    make("span", "place", place.filter(Boolean).join(" · ")),
  );
  details.append(summary, passage(turn, source));
  item.append(details);
  return item;
}

function showSources(turn) {
  state.shown = turn;
  const sorted = [...turn.sources].sort((a, b) => a.number - b.number);
  page.sources.replaceChildren(...sorted.map((source) => card(turn, source)));
  page.sourcesEmpty.hidden = sorted.length > 0;
}

function showSource(turn, number, button) {
  if (state.shown !== turn) showSources(turn);
  openPanel(true);
  for (const other of document.querySelectorAll('.cite[aria-current="true"]')) other.removeAttribute("aria-current");
  button.setAttribute("aria-current", "true");
  for (const item of page.sources.children) {
    const current = item.dataset.number === String(number);
    item.classList.toggle("current", current);
    if (!current) continue;
    const details = item.firstElementChild;
    details.open = true;
    (details.querySelector("mark") || item).scrollIntoView({ block: "center", behavior: "smooth" });
    details.querySelector("summary").focus({ preventScroll: true });
  }
}

function openPanel(open) {
  page.panel.classList.toggle("open", open);
  page.toggle.setAttribute("aria-expanded", String(open));
}

// ---- keeping the conversation over a reload -----------------------------------------------------------------

/** Turns that are kept; the service itself remembers more. */
const KEPT = 30;

function keep() {
  const finished = [...page.turns.children].map((item) => item.turn).filter((turn) => turn && turn.outcome && !turn.failed);
  const plain = finished.slice(-KEPT).map(({ question, raw, sources, citations, outcome }) => ({ question, raw, sources, citations, outcome }));
  remember("turns", JSON.stringify(plain));
}

function restore() {
  state.session = recall("session") || state.session;
  remember("session", state.session);
  try {
    for (const kept of JSON.parse(recall("turns") || "[]")) {
      const turn = Object.assign(newTurn(kept.question), kept);
      finish(turn);
    }
  } catch { /* what another version of the page kept is not worth an error */ }
  page.status.textContent = "";
  toBottom();
}

// ---- asking -----------------------------------------------------------------------------------------------

/** Splits a stream of server-sent events into their data; a comment or an unknown field is passed over. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value;
    let end;
    while ((end = buffer.indexOf("\n\n")) >= 0) {
      const lines = buffer.slice(0, end).split("\n");
      buffer = buffer.slice(end + 2);
      const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
      if (data.length > 0) yield JSON.parse(data.join("\n"));
    }
  }
}

function take(turn, event) {
  switch (event.type) {
    case "retrieved":
      turn.sources = event.sources;
      showSources(turn);
      break;
    case "delta":
      turn.raw += event.text;
      renderText(turn);
      break;
    case "citation":
      turn.citations.push(event);
      break;
    case "done":
      turn.outcome = event.outcome;
      break;
    case "error":
      renderError(turn, "The answer could not be finished", event.message);
      break;
  }
}

async function problemOf(response) {
  try {
    const problem = await response.json();
    return [problem.title || `Status ${response.status}`, problem.detail || ""];
  } catch {
    return [`Status ${response.status}`, "The service gave no reason."];
  }
}

/** What shows the service who is asking, if it wants to know. */
function credential() {
  const key = recall("key");
  return key ? { authorization: `Bearer ${key}` } : {};
}

/** Asks for an API key, which the tab keeps until it is closed, and then asks the question again. */
function renderKey(turn, detail) {
  turn.failed = true;
  const form = make("form", "error key");
  const label = make("label", "", "This service needs an API key");
  const input = make("input");
  input.type = "password";
  input.name = "key";
  input.required = true;
  input.autocomplete = "off";
  label.append(input);
  const use = make("button", "", "Use this key");
  use.type = "submit";
  form.append(label, make("span", "", detail), use);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    remember("key", input.value.trim());
    if (!state.running) { turn.item.remove(); ask(turn.question); }
  });
  turn.foot.before(form);
  input.focus();
}

async function stream(turn, signal) {
  const response = await fetch("/chat", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream", ...credential() },
    body: JSON.stringify({ message: turn.question, session_id: state.session }),
    signal,
  });
  if (response.status === 401) {
    renderKey(turn, (await problemOf(response))[1]);
    return;
  }
  if (!response.ok) {
    renderError(turn, ...(await problemOf(response)));
    return;
  }
  for await (const event of events(response.body)) {
    const follow = atBottom();
    take(turn, event);
    if (follow) toBottom();
  }
  if (!turn.outcome && !turn.failed) renderError(turn, "The connection was lost", "The answer is not complete.");
}

async function ask(question) {
  const turn = newTurn(question);
  const controller = new AbortController();
  state.running = controller;
  setRunning(true);
  toBottom();
  page.status.textContent = "Looking for an answer";
  try {
    await stream(turn, controller.signal);
  } catch (error) {
    if (controller.signal.aborted) turn.outcome = "stopped";
    else renderError(turn, "The service cannot be reached", "Check that it is running, then try again.");
  }
  const follow = atBottom();
  finish(turn);
  keep();
  if (follow) toBottom();
  if (state.running === controller) {
    state.running = null;
    setRunning(false);
  }
}

function finish(turn) {
  turn.text.classList.remove("running");
  if (!turn.raw) turn.text.hidden = true;
  renderText(turn);
  renderFoot(turn);
  if (turn.item.isConnected && turn.sources.length > 0) showSources(turn);
  page.status.textContent = turn.failed ? "The answer failed" : `Answer: ${turn.raw}`;
}

function setRunning(running) {
  page.stop.hidden = !running;
  page.send.hidden = running;
  page.send.disabled = page.message.value.trim() === "";
}

// ---- the controls -----------------------------------------------------------------------------------------

function resize() {
  page.message.style.height = "auto";
  page.message.style.height = `${page.message.scrollHeight}px`;
  page.send.disabled = page.message.value.trim() === "";
}

function submit() {
  const question = page.message.value.trim();
  if (!question || state.running) return;
  page.message.value = "";
  resize();
  ask(question);
}

function newChat() {
  if (state.running) state.running.abort();
  state.session = newSession();
  remember("session", state.session);
  page.turns.replaceChildren();
  keep();
  page.sources.replaceChildren();
  page.sourcesEmpty.hidden = false;
  page.welcome.hidden = false;
  openPanel(false);
  page.message.focus();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* the theme then lasts as long as the page */ }
}

function initialTheme() {
  let saved = null;
  try { saved = localStorage.getItem("theme"); } catch { /* as above */ }
  return saved || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

/** Says how many documents there are, as the service's readiness reports it. */
async function showStock() {
  try {
    const health = await (await fetch("/health/ready")).json();
    const index = (health.dependencies || []).find((dependency) => dependency.name === "index");
    if (index && index.status === "ok" && /\d/.test(index.detail)) byId("stock").textContent = index.detail;
  } catch { /* the line stays empty */ }
}

function showExamples() {
  for (const question of EXAMPLES) {
    const button = make("button", "", question);
    button.type = "button";
    button.addEventListener("click", () => { if (!state.running) ask(question); });
    const item = make("li");
    item.append(button);
    byId("examples").append(item);
  }
}

page.composer.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
page.message.addEventListener("input", resize);
page.message.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (page.panel.classList.contains("open")) openPanel(false);
  else if (state.running) state.running.abort();
});
page.stop.addEventListener("click", () => { if (state.running) state.running.abort(); page.message.focus(); });
byId("new-chat").addEventListener("click", newChat);
page.toggle.addEventListener("click", () => openPanel(!page.panel.classList.contains("open")));
byId("sources-close").addEventListener("click", () => { openPanel(false); page.message.focus(); });
byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));

setTheme(initialTheme());
showExamples();
restore();
showStock();
