// Where the page begins: who is there, which view is shown, the theme and the keys.

import { get, onUnauthorized, send, within } from "./api.js";
import { announce, button, byId, confirmed, make, openDialog, problemBox, save, toast } from "./dom.js";
import { isRunning, nameAddress, openSession, resize, session, showExamples, startChat, startNew, stop } from "./chat.js";
import { comeBack, isBack, leave, provider, wayOut } from "./login.js";
import { refresh as refreshDocuments, showDocuments, startDocuments } from "./documents.js";
import { showOperation } from "./operation.js";
import { clearPanel, closePanel, closePanelThatCovers, panelIsOpen } from "./panel.js";
import { showSearch, startSearch } from "./search.js";
import { draw as drawSessions, refresh as refreshSessions, startSessions } from "./sessions.js";
import * as store from "./store.js";

/** Which views a role has; the first is where it begins. */
const VIEWS = {
  user: ["chat", "search", "documents"],
  editor: ["chat", "search", "documents"],
  admin: ["chat", "search", "documents", "operation"],
  auditor: ["operation"],
};
const TITLES = { chat: "Ask", search: "Search", documents: "Documents", operation: "Operation" };
let me = null;

// ---- who is there -------------------------------------------------------------------------------------------

/** Asks the service who the credential stands for, and shows the page or the sign-in. */
async function enter() {
  try {
    me = await get("/me");
  } catch (problem) {
    if (problem.status !== 401) showGate(problem);
    return;
  }
  const person = `${me.tenant}/${me.user}`;
  if (!store.isSame(person)) { forgetEverything(); return; }
  byId("gate").hidden = true;
  byId("app").hidden = false;
  byId("key-input").value = "";
  showMe();
  await route();
  if (views().includes("chat")) await refreshSessions();
}

const views = () => VIEWS[me?.role] ?? ["chat", "search", "documents"];
const mayWrite = () => me?.role === "editor" || me?.role === "admin";

function showMe() {
  byId("me-name").textContent = me.user;
  byId("me-role").textContent = `${me.role} of ${me.tenant}`;
  for (const link of document.querySelectorAll("[data-view]")) link.parentElement.hidden = !views().includes(link.dataset.view);
  for (const id of ["sessions-box", "new-chat", "new-chat-top"]) byId(id).hidden = !views().includes("chat");
}

/** The sign-in, with what was wrong with the last try. */
function showGate(problem) {
  me = null;
  byId("app").hidden = true;
  byId("gate").hidden = false;
  clearPanel();
  openDrawer(false);
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  const refused = problem.status === 401;
  for (const id of ["sign-in", "invitation"]) byId(id).hidden = !refused;
  const tried = store.credential() ?? "";
  const shown = problem.shown ?? (tried === "" ? null : isToken(tried) ? OVER : { title: "This key is not accepted", detail: problem.detail, advice: "Check that you copied all of it. It may also have expired or been revoked; then ask an administrator for a new one." });
  byId("gate-notes").replaceChildren(...(refused ? (shown ? [problemBox(shown)] : []) : [problemBox(problem, enter)]));
  if (refused) byId("key-input").focus();
  offerProvider(refused);
}

const isToken = (credential) => credential.split(".").length === 3;
const OVER = { title: "You are signed out", detail: "The provider's word for you has expired, or is not accepted here.", advice: "Sign in again." };

/** The way to the identity provider, where there is one. */
async function offerProvider(refused) {
  showProvider(false);
  const how = refused ? await provider() : null;
  if (!how || me) return;
  showProvider(true);
  byId("provider-hint").textContent = `This leads to ${new URL(how.authorization_endpoint).host}. Programs sign in with a key:`;
  byId("provider").onclick = async () => {
    try { await leave(how); } catch (problem) { byId("gate-notes").replaceChildren(problemBox(problem)); }
  };
  byId("provider").focus();
}

/** With a provider, the key is the second way. */
function showProvider(offered) {
  byId("provider-box").hidden = !offered;
  byId("with-key").className = offered ? "framed" : "primary";
  byId("with-key").textContent = offered ? "Sign in with the key" : "Sign in";
}

/** Begins with what the provider says, if it leads back here. */
async function begin() {
  if (isBack()) {
    try { store.setCredential(...await comeBack()); } catch (problem) {
      problem.shown = problem;
      showGate(problem);
      return;
    }
  }
  await enter();
}

function signOut() {
  store.setCredential(null);
  forgetEverything();
}

/** Signs out of the page, and of the provider as well, so that nobody after this one is signed in without being asked. */
function signOutAt(target) {
  store.setCredential(null);
  store.forget();
  // Nothing of it stays for who goes back.
  history.replaceState(null, "", "/");
  document.body.replaceChildren();
  location.replace(target);
}

/** Begins anew, so that nobody sees what somebody else was shown. */
function forgetEverything() {
  store.forget();
  history.replaceState(null, "", "/");
  location.reload();
}

async function countDocuments() {
  try {
    const { documents, next } = await get(within("/documents?limit=100"));
    showExamples(documents);
    const number = next ? "more than 100" : String(documents.length);
    const text = { 0: mayWrite() ? "There are no documents yet. Add some under Documents." : "There are no documents yet." };
    byId("stock").textContent = text[documents.length] ?? `The answers rest on ${number} ${documents.length === 1 ? "document" : "documents"}.`;
  } catch { byId("stock").textContent = ""; }
}

// ---- the account --------------------------------------------------------------------------------------------

function showAccount() {
  const name = make("input", { name: "collection", value: store.collection(), required: true, maxlength: 128, autocomplete: "off", list: "collections" });
  const known = make("datalist", { id: "collections" }, ...(me.collections ?? []).map((value) => make("option", { value })));
  const form = make("form", { class: "stack" }, make("label", {}, "Collection of documents", name), known, make("button", { type: "submit", class: "primary" }, "Use this collection"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    store.setCollection(name.value.trim());
    dialog.close();
    toast(`Now in the collection ${store.collection()}`);
    route();
  });
  const facts = [["User", me.user], ["Role", me.role], ["Tenant", me.tenant], ["Collections", me.collections?.join(", ") ?? "all"]];
  const dialog = openDialog("Account",
    make("dl", { class: "facts" }, ...facts.map(([term, value]) => make("div", {}, make("dt", {}, term), make("dd", { dir: "auto" }, value)))),
    form,
    make("h3", {}, "Personal data"),
    make("p", { class: "soft" }, "Conversations, feedback, uploaded documents and records about you."),
    make("div", { class: "row" },
      button("Save everything as a file", () => exportMe(dialog), { class: "framed" }),
      button("Erase everything", () => eraseMe(dialog), { class: "danger" })),
    make("p", { class: "small" }, make("a", { href: "/reference" }, "Reference of the HTTP interface")),
    store.credential() && make("div", { class: "row end", id: "ways-out" }, button("Sign out", () => { dialog.close(); signOut(); }, { class: "framed" })));
  wayOut().then((target) => {
    if (target) byId("ways-out")?.append(button("Sign out of the provider too", () => { dialog.close(); signOutAt(target); }, { class: "framed" }));
  });
}

async function exportMe(dialog) {
  try {
    const response = await send("/me/export", { accept: "application/x-ndjson" });
    save("personal-data.ndjson", "application/x-ndjson", await response.text());
  } catch (problem) {
    dialog.append(problemBox(problem));
  }
}

async function eraseMe(dialog) {
  dialog.close();
  if (!(await confirmed("Erase everything?", "Your conversations, your feedback and the documents you uploaded are removed and cannot be brought back. Your key stays good.", "Erase everything"))) return;
  try {
    await send("/me", { method: "DELETE" });
  } catch (problem) {
    toast(`${problem.title}: ${problem.detail}`, true);
    return;
  }
  store.setCollection(null);
  toast("What is kept of you is being erased");
  location.hash = "#/chat";
  startNew();
  refreshSessions();
}

// ---- which view is shown ------------------------------------------------------------------------------------

/** Shows what the address names: `#/chat/ID`, `#/search?q=…`, `#/documents`, `#/operation`. */
async function route(event) {
  if (!me) return;
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [named, id] = path.split("/");
  const view = views().includes(named) ? named : views()[0];
  for (const name of Object.keys(TITLES)) byId(`view-${name}`).hidden = name !== view;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[view]} – agentkit`;
  byId("top-title").textContent = TITLES[view];
  openDrawer(false);
  // The panel belongs to the view that opened it.
  if (event && view !== lastView) clearPanel();
  if (event && view !== "chat") byId(`view-${view}`).querySelector("h1").focus();
  lastView = view;
  await SHOW[view](id ? decoded(id) : null, new URLSearchParams(query));
}
let lastView = null;

function decoded(id) {
  try { return decodeURIComponent(id); } catch { return id; }
}

const SHOW = {
  chat: async (id) => {
    if (id) await openSession(id);
    else nameAddress();
    drawSessions();
    resize();
    if (!byId("welcome").hidden) await countDocuments();
  },
  search: (_, parameters) => showSearch(parameters),
  documents: () => showDocuments(mayWrite()),
  operation: () => showOperation(me.role),
};

function openDrawer(open) {
  document.body.classList.toggle("with-drawer", open);
  byId("menu").setAttribute("aria-expanded", String(open));
  byId("main").toggleAttribute("inert", open);
  if (open) [...byId("side").querySelectorAll("a, button")].find((element) => element.offsetParent !== null)?.focus();
}

const drawerIsOpen = () => document.body.classList.contains("with-drawer");

// ---- the theme and the keys ---------------------------------------------------------------------------------

const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => store.theme() ?? (dark.matches ? "dark" : "light");
function showTheme() {
  document.documentElement.dataset.theme = theme();
  for (const toggle of document.querySelectorAll(".theme")) toggle.setAttribute("aria-label", theme() === "dark" ? "Use the light theme" : "Use the dark theme");
}

function escape() {
  if (document.querySelector("dialog[open]")) return false;
  if (drawerIsOpen()) { openDrawer(false); byId("menu").focus(); return true; }
  if (closePanelThatCovers()) return true;
  if (isRunning()) { stop(); announce("Stopped"); return true; }
  if (panelIsOpen()) { closePanel(); return true; }
  return false;
}

/** `/` goes to where one writes, unless one is writing already. */
function slash(event) {
  const writing = event.target.closest?.("input, textarea, select, dialog");
  if (writing || event.ctrlKey || event.metaKey || event.altKey || !views().includes("chat") || !me) return;
  event.preventDefault();
  closePanelThatCovers();
  if (lastView === "search") { byId("search-query").focus(); return; }
  if (lastView === "chat") { byId("message").focus(); return; }
  addEventListener("hashchange", () => byId("message").focus(), { once: true });
  location.hash = "#/chat";
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && escape()) event.preventDefault();
  if (event.key === "/") slash(event);
});

for (const toggle of document.querySelectorAll(".theme")) {
  toggle.addEventListener("click", () => { store.setTheme(theme() === "dark" ? "light" : "dark"); showTheme(); });
}
dark.addEventListener("change", showTheme);
byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = byId("key-input").value.trim();
  if (!key) return;
  store.setCredential(key);
  enter();
});
for (const id of ["new-chat", "new-chat-top"]) byId(id).addEventListener("click", () => {
  startNew();
  if (location.hash === "#/chat") { drawSessions(); openDrawer(false); } else location.hash = "#/chat";
});
byId("menu").addEventListener("click", () => openDrawer(!drawerIsOpen()));
byId("curtain").addEventListener("click", () => openDrawer(false));
byId("account").addEventListener("click", showAccount);
byId("operation-refresh").addEventListener("click", () => showOperation(me.role));
byId("documents-refresh").addEventListener("click", refreshDocuments);
addEventListener("hashchange", route);
// A file that misses its place must not replace the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); });

onUnauthorized(showGate);
showTheme();
startChat();
startSearch();
startDocuments();
startSessions(session, startNew);
begin();
