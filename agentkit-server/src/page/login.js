// Signing in at the identity provider: authorization code with PKCE. What belongs to one try is kept in the tab until it
// comes back, and used once.

import { Problem } from "./api.js";
import * as store from "./store.js";

/** Longest wait for the provider in milliseconds. */
const PATIENCE = 15_000;

/** How to sign in at the provider, or null if that cannot be done. */
export async function provider() {
  try {
    const response = await fetch("/page/sign-in.json", { cache: "no-store" });
    return response.ok ? await response.json() : null;
  } catch { return null; }
}

const place = () => `${location.origin}/`;
const refused = (detail) => new Problem(401, "Signing in did not work", detail);

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** Leads to the provider. */
export async function leave({ authorization_endpoint, client_id, scope }) {
  if (!crypto.subtle) throw refused("The browser signs in at a provider only from an https address.");
  const attempt = { verifier: random(), state: random(), nonce: random(), hash: location.hash };
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(attempt.verifier));
  if (!store.keepAttempt(attempt)) throw refused("The browser lets this page keep nothing, not even for the tab.");
  const target = new URL(authorization_endpoint);
  const asked = {
    response_type: "code", client_id, scope, redirect_uri: place(), state: attempt.state, nonce: attempt.nonce,
    code_challenge: base64url(new Uint8Array(digest)), code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(asked)) target.searchParams.set(name, value);
  location.assign(target);
}

/** Whether the address is one that the provider leads back to. */
export function isBack() {
  const told = new URLSearchParams(location.search);
  return told.has("state") && (told.has("code") || told.has("error"));
}

/** Takes what the provider says in the address; gives the credential it stands for, and the ID token. */
export async function comeBack() {
  const told = new URLSearchParams(location.search);
  const attempt = store.takeAttempt();
  // The code must not stay in the address, nor in the history.
  history.replaceState(null, "", `/${attempt?.hash ?? ""}`);
  if (!attempt || told.get("state") !== attempt.state) throw refused("The answer is not one to this tab. Try again.");
  const how = await provider();
  if (!how) throw refused("The service does not know the provider any more, or cannot reach it.");
  if (told.has("iss") && told.get("iss") !== how.issuer) throw refused("The answer is of another provider.");
  if (told.has("error")) throw refused(told.get("error_description") || told.get("error"));
  const tokens = await exchange(how, told.get("code"), attempt.verifier);
  checkId(tokens.id_token, how, attempt.nonce);
  const credential = tokens[how.credential];
  if (typeof credential !== "string" || credential === "") throw refused(`The provider gave no ${how.credential}.`);
  return [credential, tokens.id_token];
}

/** Where the one who signed in at the provider signs out there, or null; the provider leads back here. */
export async function wayOut() {
  const hint = store.idToken();
  const how = hint && await provider();
  if (!how?.end_session_endpoint) return null;
  const target = new URL(how.end_session_endpoint);
  const asked = { id_token_hint: hint, client_id: how.client_id, post_logout_redirect_uri: place() };
  for (const [name, value] of Object.entries(asked)) target.searchParams.set(name, value);
  return target;
}

async function exchange({ token_endpoint, client_id }, code, verifier) {
  const body = new URLSearchParams({ grant_type: "authorization_code", code, redirect_uri: place(), client_id, code_verifier: verifier });
  let response, answer;
  try {
    response = await fetch(token_endpoint, { method: "POST", body, signal: AbortSignal.timeout(PATIENCE), credentials: "omit", referrerPolicy: "no-referrer" });
    answer = await response.json();
  } catch { throw refused("The provider cannot be reached from this page."); }
  if (!response.ok || answer === null || typeof answer !== "object") throw refused(answer?.error_description || answer?.error || `The provider answered with status ${response.status}.`);
  return answer;
}

/** The token came straight from the provider, so its signature says nothing more; the service checks what it is shown. */
function checkId(token, { issuer, client_id }, nonce) {
  let claims;
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0))));
  } catch { throw refused("The provider gave no ID token; the scope has to hold openid."); }
  const meant = [claims.aud].flat().includes(client_id) && (claims.azp === undefined || claims.azp === client_id);
  if (claims.nonce !== nonce || claims.iss !== issuer || !meant) throw refused("The ID token is not one for this sign-in.");
}
