// The reference of the interface, made of the description that the service gives of itself.

import { byId, make, problemBox } from "./dom.js";
import { theme } from "./store.js";

const METHODS = ["get", "put", "post", "patch", "delete"];

async function start() {
  document.documentElement.dataset.theme = theme() ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  let description;
  try {
    const response = await fetch("/openapi.json");
    if (!response.ok) throw new Error(`status ${response.status}`);
    description = await response.json();
  } catch (error) {
    byId("problem").replaceChildren(problemBox({ title: "The description cannot be read", detail: error.message }, () => location.reload()));
    return;
  }
  show(description);
  // What the address names is there only now.
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

function show({ paths, components }) {
  const groups = new Map();
  for (const [path, item] of Object.entries(paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const operation = item[method];
      const tag = operation.tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), { method, path, operation }]);
    }
  }
  for (const [tag, operations] of groups) {
    byId("contents").append(make("h2", {}, tag), ...operations.map(({ method, path }) => make("a", { href: `#${name(method, path)}` }, `${method.toUpperCase()} ${path}`)));
    byId("operations").append(make("h2", { class: "group" }, tag), ...operations.map(operationBox));
  }
  const schemas = Object.entries(components?.schemas ?? {});
  byId("schemas").append(...schemas.map(schemaBox));
  byId("schemas").hidden = schemas.length === 0;
}

const name = (method, path) => `${method}-${path.replace(/[^A-Za-z0-9]+/g, "-")}`;

function operationBox({ method, path, operation }) {
  const box = make("section", { class: "operation", id: name(method, path) }, make("h3", {}, make("span", { class: "method" }, method.toUpperCase()), path));
  box.append(...prose(operation.summary), ...prose(operation.description));
  if (operation.parameters?.length > 0) box.append(make("h4", {}, "Parameters"), fields(operation.parameters.map(({ name: label, in: where, required, schema, description }) => [label, [typeOf(schema), `, in the ${where}${required ? "" : ", optional"}`], description])));
  if (operation.requestBody) box.append(make("h4", {}, "Body"), contents(operation.requestBody.content));
  box.append(make("h4", {}, "Answers"), ...Object.entries(operation.responses).map(([status, { description, content }]) => make("div", {}, make("p", {}, make("strong", {}, status === "default" ? "Otherwise" : status), ` ${description ?? ""}`), contents(content))));
  return box;
}

/** Paragraphs; what stands between backticks is code. */
const prose = (text) => (text ? text.split(/\n\n+/).map((part) => make("p", {}, ...part.split("`").map((piece, at) => (at % 2 === 1 ? make("code", {}, piece) : piece)))) : []);

function contents(content) {
  return fields(Object.entries(content ?? {}).map(([type, { schema }]) => [type, [typeOf(schema)], null]));
}

function fields(rows) {
  const row = ([label, type, text]) => make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, ...type), make("td", {}, text ?? ""));
  return rows.length > 0 ? make("table", { class: "fields" }, make("tbody", {}, ...rows.map(row))) : null;
}

function schemaBox([label, schema]) {
  const box = make("section", { class: "schema", id: `schema-${label}` }, make("h3", {}, label), ...prose(schema.description));
  const table = membersOf(schema);
  if (table) box.append(table); else box.append(make("p", {}, typeOf(schema)));
  return box;
}

function membersOf({ properties, required = [], allOf, oneOf }) {
  const own = Object.entries(properties ?? {}).map(([label, member]) => [label, [typeOf(member), required.includes(label) ? "" : ", optional"], member.description]);
  const more = (allOf ?? oneOf ?? []).map((part, at) => [oneOf ? `form ${at + 1}` : "also", [typeOf(part)], part.description]);
  return fields([...own, ...more]);
}

/** The type in a word or two, with links to the schemas it names. */
function typeOf(schema) {
  const shown = make("span", {});
  shown.append(...partsOf(schema));
  return shown;
}

function partsOf(schema) {
  if (!schema || Object.keys(schema).length === 0) return ["anything"];
  if (schema.$ref) {
    const label = schema.$ref.split("/").pop();
    return [make("a", { href: `#schema-${label}` }, label)];
  }
  const among = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (among) return among.flatMap((part, at) => (at > 0 ? [schema.allOf ? " and " : " or ", ...partsOf(part)] : partsOf(part)));
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  const types = [schema.type].flat().filter((type) => type !== undefined);
  if (types.includes("array")) return ["list of ", ...partsOf(schema.items), ...(types.includes("null") ? [" or null"] : [])];
  if (schema.properties) return [`object with ${Object.entries(schema.properties).map(([label, member]) => (member.enum ? `${label} ${member.enum.map((value) => JSON.stringify(value)).join("|")}` : label)).join(", ")}`];
  const bounds = [schema.minimum !== undefined && `from ${schema.minimum}`, schema.maximum !== undefined && `to ${schema.maximum}`].filter(Boolean);
  return [[types.join(" or ") || "anything", schema.format && `(${schema.format})`, ...bounds].filter(Boolean).join(" ")];
}

start();
