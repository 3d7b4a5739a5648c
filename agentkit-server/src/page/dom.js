// Makes elements, icons, dialogs and announcements. Whatever is shown goes in as text, never as markup.

export const byId = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick`) and children; strings become text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** One of the drawings that the document holds as symbols. */
export function icon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(namespace, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

export function button(text, onclick, attributes = {}) {
  return make("button", { type: "button", onclick, ...attributes }, text);
}

export function iconButton(name, label, onclick, attributes = {}) {
  return make("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick, ...attributes }, icon(name));
}

/** Says something to screen readers, once, when they have time for it. */
export function announce(text) {
  byId("status").textContent = text;
}

/** A message that goes away by itself; failures stay until they are closed. */
export function toast(text, failed = false) {
  const item = make("li", { class: failed ? "toast failed" : "toast" }, make("span", { dir: "auto" }, text));
  item.append(iconButton("close", "Close this message", () => item.remove()));
  byId("toasts").append(item);
  announce(text);
  if (!failed) setTimeout(() => item.remove(), 5000);
}

/** What the service says in its own way, as a sentence. */
export function sentence(text) {
  const [first = "", ...rest] = text;
  return first.toLocaleUpperCase("en") + rest.join("") + (/[.!?…]$/.test(text) ? "" : ".");
}

/** What went wrong, with what to do about it, as a box; `again` is what a second try does. */
export function problemBox(problem, again) {
  const box = make("div", { class: "problem", role: "alert" }, make("strong", {}, problem.title));
  for (const text of [problem.detail, problem.advice]) if (text) box.append(make("p", { dir: "auto" }, sentence(text)));
  if (problem.trace) box.append(make("p", { class: "trace" }, `Trace ${problem.trace}`));
  if (again) box.append(button("Try again", again, { class: "plain" }));
  return box;
}

/** Opens a dialog around `content`; it is removed when it closes, and the focus goes back to where it was. */
export function openDialog(title, ...content) {
  const heading = make("h2", { id: "dialog-title" }, title);
  const dialog = make("dialog", { "aria-labelledby": "dialog-title" });
  const close = iconButton("close", "Close", () => dialog.close());
  dialog.append(make("div", { class: "dialog-head" }, heading, close), ...content);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Asks before something that cannot be undone. */
export function confirmed(title, text, action) {
  return new Promise((resolve) => {
    let answer = false;
    const yes = button(action, () => { answer = true; dialog.close(); }, { class: "danger" });
    const no = button("Cancel", () => dialog.close(), { class: "framed", autofocus: true });
    const dialog = openDialog(title, make("p", { dir: "auto" }, text), make("div", { class: "row end" }, no, yes));
    dialog.addEventListener("close", () => resolve(answer));
  });
}

/** Offers text to be saved as a file. */
export function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function bytesText(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let [size, unit] = [bytes, 0];
  while (size >= 1000 && unit < units.length - 1) { size /= 1000; unit += 1; }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

export function counted(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
