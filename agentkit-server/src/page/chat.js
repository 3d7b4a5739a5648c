// The conversation: asks, shows the stream of the answer, stops, waits its turn, and goes on with older conversations.

import { Problem, events, get, inCollection, send, sessionPath, wait } from "./api.js";
import { announce, button, byId, make, problemBox, sentence } from "./dom.js";
import { clearPanel, showSources } from "./panel.js";
import { changed } from "./sessions.js";
import * as store from "./store.js";
import { fail, finish, kept, newTurn, take } from "./turn.js";

/** How often a question is asked anew by itself after the service asked to come back later. */
const RETRIES = 3;
/** How often a lost connection is taken up again. */
const RETURNS = 4;
/** Newest messages of a conversation that are shown. */
const MESSAGES = 200;
const state = { session: newSession(), running: null, opening: null, fresh: true };

/** Ids in the order that puts the newest first, because the service lists conversations by id. */
function newSession() {
  const age = String(9_999_999_999_999 - Date.now()).padStart(13, "0");
  const random = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `page-${age}-${random}`;
}

const scroller = () => byId("scroller");
const atBottom = () => scroller().scrollHeight - scroller().scrollTop - scroller().clientHeight < 80;
const toBottom = () => { scroller().scrollTop = scroller().scrollHeight; };

export const session = () => state.session;
export const isRunning = () => state.running !== null;

// ---- asking -------------------------------------------------------------------------------------------------

/** Asks, and comes back to the run when the connection is lost while it is under way. */
async function stream(turn, signal, resumable) {
  const request = inCollection({ message: turn.question, session_id: turn.session, stream: true, resumable });
  let response = await send("/chat", { method: "POST", json: request, accept: "text/event-stream", signal });
  turn.run = response.headers.get("agentkit-run");
  for (let losses = 0; ; losses += 1) {
    await readEvents(turn, response).catch((error) => { if (signal.aborted || error instanceof Problem) throw error; });
    if (turn.outcome) return;
    if (!turn.run || losses === RETURNS) throw new Problem(-1, "The connection was lost", "The answer is not complete.");
    response = await comeBack(turn, signal);
  }
}

async function readEvents(turn, response) {
  for await (const event of events(response.body)) {
    turn.seq = event.seq;
    take(turn, event);
    if (event.type === "retrieved" && turn.item.isConnected) showSources(turn);
    if (event.type === "error") throw new Problem(-1, "The answer could not be finished", event.message);
  }
}

/** Asks for what the run has said since, a few times with growing patience. */
async function comeBack(turn, signal) {
  const after = turn.seq === undefined ? "" : `?starting_after=${turn.seq}`;
  for (let tries = 0; ; tries += 1) {
    await wait(2 ** tries, signal);
    try {
      return await send(`/chat/${encodeURIComponent(turn.run)}/events${after}`, { accept: "text/event-stream", signal });
    } catch (problem) {
      if (problem.status !== 0 || tries === RETURNS) throw problem;
    }
  }
}

/** Asks, and asks again when the service says when. */
async function persist(turn, signal) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      // Of runs that can be come back to there may be too many, of others hardly.
      return await stream(turn, signal, attempt === 0);
    } catch (problem) {
      if (!problem.passes || attempt === RETRIES) throw problem;
      await waitFor(turn, problem, signal);
    }
  }
}

/** Shows how long it takes until the question may be asked again, and waits so long. */
async function waitFor(turn, problem, signal) {
  const seconds = problem.retryAfter ?? 5;
  const sooner = new AbortController();
  const left = make("span", { "aria-hidden": "true" });
  const box = make("div", { class: "problem waiting" }, make("strong", {}, problem.title), make("p", { dir: "auto" }, sentence(problem.detail)),
    make("p", {}, "The question is asked again in ", left), button("Ask now", () => sooner.abort(), { class: "plain" }));
  turn.notes.append(box);
  announce(`${problem.title}. The question is asked again in ${seconds} seconds.`);
  try {
    await wait(seconds, AbortSignal.any([signal, sooner.signal]), (rest) => { left.textContent = `${rest} s`; });
  } catch (error) {
    if (signal.aborted) throw error;
  } finally {
    box.remove();
  }
}

export async function ask(question) {
  if (state.running) return;
  const turn = newTurn(question, state.session);
  turn.following = atBottom;
  turn.follow = toBottom;
  turn.rated = () => store.keepTurn(kept(turn));
  byId("turns").append(turn.item);
  byId("welcome").hidden = true;
  turn.text.classList.add("running");
  const controller = new AbortController();
  setRunning(controller);
  toBottom();
  announce("Looking for an answer");
  try {
    await persist(turn, controller.signal);
    remember(turn);
  } catch (problem) {
    ended(turn, problem, controller.signal);
  }
  const follow = atBottom();
  finish(turn);
  if (turn.item.isConnected) {
    if (turn.sources.length > 0 && !turn.failed) refreshSources(turn);
    announce(turn.failed ? "The answer failed" : turn.outcome === "stopped" ? "Stopped" : `Answer: ${turn.raw}`);
  }
  if (follow) toBottom();
  if (state.running === controller) setRunning(null);
}

/** The citations have come since the sources were shown. */
function refreshSources(turn) {
  const reading = !byId("panel-back").hidden;
  if (!reading) showSources(turn);
}

function ended(turn, problem, signal) {
  if (signal.aborted) {
    turn.outcome = "stopped";
    // A run that can be come back to does not end by itself when nobody listens.
    if (turn.run) send(`/chat/${encodeURIComponent(turn.run)}/stop`, { method: "POST" }).catch(() => {});
    return;
  }
  if (problem.status === 401) {
    // The question is not lost: it is there again after the sign-in.
    turn.item.remove();
    byId("message").value = turn.question;
    resize();
    return;
  }
  const shown = problem instanceof Problem ? problem : new Problem(-1, "The connection was lost", "The answer is not complete.");
  fail(turn, shown, () => { if (!state.running) { turn.item.remove(); ask(turn.question); } });
}

function remember(turn) {
  store.keepTurn(kept(turn));
  const first = state.fresh && turn.session === state.session;
  state.fresh = false;
  if (first) nameAddress();
  changed(turn.session, first ? turn.question : null);
}

/** Puts the conversation into the address once the service knows it, so that a reload finds it again. */
export function nameAddress() {
  const isChat = location.hash === "" || /^#\/?(chat)?$/.test(location.hash);
  if (isChat && !state.fresh) history.replaceState(null, "", `#/chat/${encodeURIComponent(state.session)}`);
}

export function stop() {
  state.running?.abort();
}

function setRunning(controller) {
  state.running = controller;
  byId("stop").hidden = controller === null;
  byId("send").hidden = controller !== null;
  resize();
}

// ---- other conversations --------------------------------------------------------------------------------------

function clear(session) {
  state.running?.abort();
  setRunning(null);
  state.opening?.abort();
  state.session = session;
  byId("turns").replaceChildren();
  clearPanel();
}

export function startNew() {
  clear(newSession());
  state.fresh = true;
  byId("welcome").hidden = false;
  byId("message").focus();
}

/** Goes on with a conversation that the service knows. */
export async function openSession(id) {
  if (id === state.session && byId("turns").children.length > 0) return;
  clear(id);
  state.fresh = false;
  byId("welcome").hidden = true;
  const controller = new AbortController();
  state.opening = controller;
  try {
    const conversation = await get(sessionPath(id, `?limit=${MESSAGES}`), { signal: controller.signal });
    if (!controller.signal.aborted) show(id, conversation.messages);
  } catch (problem) {
    if (controller.signal.aborted) return;
    byId("turns").replaceChildren(make("li", {}, problemBox(problem, problem.status === 404 ? null : () => openSession(id))));
  }
}

const textOf = (message) => message.parts.filter((part) => part.type === "text").map((part) => part.text).join("\n");

function show(id, messages) {
  // The service keeps questions and answers; their sources are known if they were asked for in this tab.
  const known = store.turns().filter((turn) => turn.session === id);
  const turns = [];
  for (const message of messages) {
    const last = turns[turns.length - 1];
    if (message.role === "user") turns.push({ question: textOf(message), raw: "" });
    else if (message.role === "assistant" && last) last.raw += textOf(message);
  }
  if (messages.length === MESSAGES) byId("turns").append(make("li", { class: "soft small" }, "What was said before is left out here; an export of the conversation has it."));
  for (const { question, raw } of turns) {
    const before = known.find((turn) => turn.question === question && turn.raw.trim() === raw.trim());
    const turn = newTurn(question, id, before ?? { raw, outcome: "answered" });
    turn.rated = () => store.keepTurn(kept(turn));
    byId("turns").append(turn.item);
    finish(turn);
  }
  toBottom();
  announce("The conversation is open");
}

// ---- the composer ---------------------------------------------------------------------------------------------

export function resize() {
  const message = byId("message");
  message.style.height = "auto";
  message.style.height = `${message.scrollHeight}px`;
  byId("send").disabled = message.value.trim() === "";
}

function submit() {
  const question = byId("message").value.trim();
  if (!question || state.running) return;
  byId("message").value = "";
  resize();
  ask(question);
}

/** Questions that are of use with the documents of the demo; elsewhere there are no examples. */
const EXAMPLES = [
  "What is agentkit and who is it for?",
  "How does the index stay consistent after a crash?",
  "How are answers cited?",
  "How do I change the listen address?",
];

export function showExamples(documents) {
  const ours = documents.some(({ id }) => id === "docs/ARCHITECTURE.md");
  const items = (ours ? EXAMPLES : []).map((question) => make("li", {}, button(question, () => ask(question))));
  byId("examples").replaceChildren(...items);
}

export function startChat() {
  byId("composer").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  byId("message").addEventListener("input", resize);
  byId("message").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
  });
  byId("stop").addEventListener("click", () => { stop(); byId("message").focus(); });
  resize();
}
