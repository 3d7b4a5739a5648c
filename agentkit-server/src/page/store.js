// What the browser keeps: the key and the conversation as long as the tab, the theme for longer.
// Storage may be forbidden or full, which is no reason to fail.

function read(storage, key) {
  try { return storage()?.getItem(key) ?? null; } catch { return null; }
}

function write(storage, key, value) {
  try {
    if (value === null) storage().removeItem(key); else storage().setItem(key, value);
    return true;
  } catch { return false; }
}

// Naming the storage may throw already.
const tab = () => sessionStorage;
const browser = () => localStorage;
let key = read(tab, "key");

/** The credential, also where storage is forbidden. */
export const credential = () => key;
export function setCredential(value, id = null) {
  key = value;
  write(tab, "key", value);
  write(tab, "id-token", id);
}

/** What the provider said about the one who signed in there; it wants to see that again when they sign out. */
export const idToken = () => read(tab, "id-token");

/** Keeps what a sign-in at the provider needs when it comes back; says whether that could be done. */
export const keepAttempt = (attempt) => write(tab, "sign-in", JSON.stringify(attempt));

/** Takes it, once. */
export function takeAttempt() {
  const kept = read(tab, "sign-in");
  write(tab, "sign-in", null);
  try { return JSON.parse(kept); } catch { return null; }
}

export const collection = () => read(tab, "collection") || "default";
export const setCollection = (name) => write(tab, "collection", name);

export const theme = () => read(browser, "theme");
export const setTheme = (name) => write(browser, "theme", name);

/** Turns that are kept with their sources, of all conversations; the service keeps questions and answers. */
const KEPT = 60;

/** The kept turns, newest last. */
export function turns() {
  try {
    const kept = JSON.parse(read(tab, "turns") || "[]");
    return Array.isArray(kept) ? kept : [];
  } catch { return []; }
}

export function keepTurn(turn) {
  let kept = [...turns().filter((other) => !turn.trace || other.trace !== turn.trace), turn].slice(-KEPT);
  while (kept.length > 0 && !write(tab, "turns", JSON.stringify(kept))) kept = kept.slice(Math.ceil(kept.length / 2));
}

export function forgetTurns(session) {
  write(tab, "turns", JSON.stringify(turns().filter((turn) => turn.session !== session)));
}

/** Whether the tab's conversations are this person's; the first who comes has the tab. */
export function isSame(person) {
  const before = read(tab, "person");
  write(tab, "person", person);
  return before === null || before === person;
}

/** Forgets what was said and by whom; the credential is kept. */
export function forget() {
  for (const name of ["turns", "collection", "person"]) write(tab, name, null);
}
