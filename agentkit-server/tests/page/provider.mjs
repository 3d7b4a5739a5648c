// An OpenID Connect provider for the tests of the page: `node provider.mjs PORT PAGE`. Anybody may sign in by any name.

import { generateKeyPairSync } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [port, page] = process.argv.slice(2);
const modules = createRequire(join(process.env.AGENTKIT_PAGE_MODULES, "node_modules", "none.js"));
const { Provider } = await import(pathToFileURL(modules.resolve("oidc-provider")));
const key = { ...generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }), kid: "one", use: "sig", alg: "RS256" };
const lifetime = Number(process.env.TOKEN_SECONDS ?? 600);

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: "page", token_endpoint_auth_method: "none", application_type: "native", redirect_uris: [page], post_logout_redirect_uris: [page], grant_types: ["authorization_code"], response_types: ["code"] }],
  jwks: { keys: [key] },
  scopes: ["openid", "chat"],
  pkce: { required: () => true },
  clientBasedCORS: () => true,
  findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  cookies: { keys: ["for tests"] },
  features: {
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true, defaultResource: () => "urn:chat-api", useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: "chat", audience: "urn:chat-api", accessTokenFormat: "jwt", accessTokenTTL: lifetime, jwt: { sign: { alg: "RS256" } } }),
    },
  },
  extraTokenClaims: () => ({ tenant_id: "acme", roles: ["editor"] }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
