// The list of conversations: opens, renames, exports and deletes them.

import { get, send, sessionPath } from "./api.js";
import { button, byId, confirmed, iconButton, make, openDialog, problemBox, save, toast } from "./dom.js";
import * as store from "./store.js";

const PAGE = 100;
const list = { sessions: [], next: null };
let current = () => null;
let left = () => {};
let reads = 0;

/** The title is made of the first question, cut at a word. */
const TITLE = 70;

/** `opened` says which conversation is shown, `gone` is called when that one is deleted. */
export function startSessions(opened, gone) {
  current = opened;
  left = gone;
  byId("sessions-more").addEventListener("click", more);
}

export async function refresh() {
  await read([], null);
}

const more = () => read(list.sessions, list.next);

/** Reads the next page behind those that are there already; only what was asked for last is shown. */
async function read(before, next) {
  reads += 1;
  const number = reads;
  const after = next ? `&after=${encodeURIComponent(next)}` : "";
  try {
    const page = await get(`/sessions?limit=${PAGE}${after}`);
    if (number !== reads) return;
    list.sessions = [...before, ...page.sessions];
    list.next = page.next ?? null;
    draw();
  } catch (problem) {
    if (problem.status !== 401 && number === reads) byId("sessions").replaceChildren(make("li", {}, problemBox(problem, refresh)));
  }
}

/** A turn of a conversation is stored; `question` is its first one, if it is new. */
export async function changed(id, question) {
  if (question !== null) {
    const title = question.length > TITLE ? `${question.slice(0, TITLE).replace(/\s+\S*$/, "")}…` : question;
    await rename(id, title.replace(/\s+/g, " ")).catch(() => { /* it is listed all the same, without a title */ });
  }
  await refresh();
}

const rename = (id, title) => send(sessionPath(id), { method: "PATCH", json: { title } });

export function draw() {
  byId("sessions").replaceChildren(...list.sessions.map(item));
  byId("sessions-empty").hidden = list.sessions.length > 0;
  byId("sessions-more").hidden = list.next === null;
}

const nameOf = (session) => session.title || `Conversation ${session.id.slice(0, 40)}`;

function item(session) {
  const link = make("a", { href: `#/chat/${encodeURIComponent(session.id)}`, dir: "auto", "aria-current": session.id === current() ? "page" : null }, nameOf(session));
  return make("li", {}, link, iconButton("more", `Options of ${nameOf(session)}`, () => options(session)));
}

function options(session) {
  const title = make("input", { name: "title", value: nameOf(session), maxlength: 120, required: true, dir: "auto" });
  const form = make("form", { class: "stack" }, make("label", {}, "Title", title), make("button", { type: "submit", class: "primary" }, "Rename"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(dialog, () => rename(session.id, title.value.trim()), "The conversation has a new title");
  });
  const dialog = openDialog("Conversation", form, make("div", { class: "row end" },
    button("Export", () => act(dialog, () => exported(session), "The conversation is saved as a file"), { class: "framed" }),
    button("Delete", () => removed(dialog, session), { class: "danger" })));
  title.select();
}

async function act(dialog, action, done) {
  try {
    await action();
    dialog.close();
    toast(done);
    await refresh();
  } catch (problem) {
    dialog.querySelector(".problem")?.remove();
    dialog.append(problemBox(problem));
  }
}

async function exported(session) {
  const response = await send(sessionPath(session.id, "/export"));
  save("conversation.json", "application/json", await response.text());
}

async function removed(dialog, session) {
  dialog.close();
  if (!(await confirmed("Delete the conversation?", `“${nameOf(session)}” with its ${session.messages} messages cannot be brought back.`, "Delete"))) return;
  try {
    await send(sessionPath(session.id), { method: "DELETE" });
  } catch (problem) {
    if (problem.status !== 404) { toast(`${problem.title}: ${problem.detail}`, true); return; }
  }
  store.forgetTurns(session.id);
  toast("The conversation is deleted");
  if (session.id === current()) { left(); location.hash = "#/chat"; }
  await refresh();
}
