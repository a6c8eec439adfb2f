// An issuer of log-ins for the tests: oidc-provider, which is certified, with its own pages for log-in and consent.
//
// Whoever logs in as `ann` is ann@example.com, as `x@y.example` that; as `unverified…` their address is not confirmed.
// PUT /spoil {"how": {"aud": "other"}} has its tokens changed before they are signed, until it is put to {} again:
// what a broken or hostile issuer would send. `alg` and `key` spoil the signature, claims that are null are left out.

import { createHmac, generateKeyPairSync } from "node:crypto";
import { SignJWT, exportJWK, importJWK } from "jose";
import Provider from "oidc-provider";

const [port, back, nearby] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const make = async (kid) => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...(await exportJWK(privateKey)), kid, alg: "RS256", use: "sig" };
};
const own = await make("own");
const foreign = { ...(await make("own")) };
const client = { client_id: "techstone", client_secret: "a secret of forty characters and some more", redirect_uris: back.split(",") };

const provider = new Provider(issuer, {
  clients: [client],
  jwks: { keys: [own] },
  cookies: { keys: ["a key for the tests"] },
  pkce: { required: () => true },
  conformIdTokenClaims: nearby !== "in-token",
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: id.includes("@") ? id : `${id}@example.com`, email_verified: !id.startsWith("unverified") }),
  }),
  ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 600, Grant: 600, Session: 600 },
});

let spoilt = {};
const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const spoil = async (token) => {
  const { alg, key, cut, ...claims } = spoilt;
  const payload = { ...JSON.parse(Buffer.from(token.split(".")[1], "base64url")), ...claims };
  for (const [name, value] of Object.entries(claims)) if (value === null) delete payload[name];
  if (cut) return token.slice(0, -4) + "AAAA";
  if (alg === "none") return `${encode({ alg })}.${encode(payload)}.`;
  if (alg === "HS256") {
    const head = `${encode({ alg, kid: "own" })}.${encode(payload)}`;
    return `${head}.${createHmac("sha256", client.client_secret).update(head).digest("base64url")}`;
  }
  const signer = await importJWK(key === "foreign" ? foreign : own, "RS256");
  return new SignJWT(payload).setProtectedHeader({ alg: "RS256", kid: key === "unknown" ? "unknown" : "own" }).sign(signer);
};
provider.use(async (ctx, next) => {
  if (ctx.method === "PUT" && ctx.path === "/spoil") {
    const parts = [];
    for await (const part of ctx.req) parts.push(part);
    spoilt = JSON.parse(Buffer.concat(parts));
    ctx.status = 204;
    return;
  }
  await next();
  if (ctx.path === "/token" && ctx.body?.id_token && Object.keys(spoilt).length) ctx.body.id_token = await spoil(ctx.body.id_token);
  if (ctx.path === "/me" && ctx.body?.sub && spoilt.userinfo) ctx.body.sub = spoilt.userinfo;
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
