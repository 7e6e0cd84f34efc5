// A real OpenID provider for the tests, on a loopback port: node provider.mjs [port] [--leash]
//
// It prints one JSON line when it is ready, {"issuer": "http://127.0.0.1:…"}; everything else goes to stderr.
// With --leash it ends when its standard input closes, that is, with the program that started it.
// IDP_LOGOUT_URI: back-channel logout address of the clients that people use. IDP_ACCESS_TTL: seconds.
// GET /lab shows keys, faults and logouts; POST /lab changes them, see administer().

import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

import { faults, faulty, setFault } from './faults.mjs';
import { KeyRing } from './keys.mjs';
import { MapAdapter } from './store.mjs';

console.info = console.error; // oidc-provider prints notices there, and standard output belongs to the ready line
const { Provider, errors } = await import('oidc-provider');

// web: confidential, RS256, access and logout tokens with sid. mobile: public, ES256, neither with sid. desktop: public,
// RS256, sid in logout tokens alone, as some providers do. neighbour: people's too, of another application. service, certified:
// machines; the latter binds to the certificate in Client-Cert (RFC 9440), any may bind to DPoP.
const { lifetimes, accounts, resources, clients } = JSON.parse(readFileSync(new URL('world.json', import.meta.url)));
for (const client of [clients.web, clients.mobile, clients.desktop, clients.neighbour]) {
  client.backchannel_logout_uri = process.env.IDP_LOGOUT_URI;
}
lifetimes.AccessToken = Number(process.env.IDP_ACCESS_TTL ?? lifetimes.AccessToken);

const ring = new KeyRing();
const logouts = []; // what became of each logout token: { client, sub, sid, outcome }
const answers = []; // what its receivers answered: { url, status, body, at }
const lab = {}; // issuer, and the Provider of the moment

function certificateOf(ctx) {
  const der = /^:([\w+/=]+):$/.exec(ctx.get('client-cert'))?.[1];
  return der && new X509Certificate(Buffer.from(der, 'base64'));
}

function resourceServer(ctx, resource, client) {
  if (!Object.hasOwn(resources, resource)) throw new errors.InvalidTarget();
  const jwt = { sign: { alg: client.idTokenSignedResponseAlg } };
  return { audience: resource, scope: resources[resource], accessTokenFormat: 'jwt', jwt };
}

/** Every client is first-party here: all it may ask for is granted without a consent page. */
async function grantAll(ctx) {
  const { client: { clientId }, session, provider: { Grant } } = ctx.oidc;
  const known = session.grantIdFor(clientId);
  const grant = (known && await Grant.find(known)) ?? new Grant({ clientId, accountId: session.accountId });
  grant.addOIDCScope('openid profile email offline_access');
  Object.entries(resources).forEach(([resource, scope]) => grant.addResourceScope(resource, scope));
  await grant.save();
  return grant;
}

/** All that this provider fetches are its logouts. Its own dispatcher would refuse loopback addresses. */
async function post(url, { dispatcher, ...options }) {
  const response = await fetch(url, options);
  answers.push({ url: `${url}`, status: response.status, body: await response.clone().text(), at: Date.now() / 1000 });
  return response;
}

const page = (ctx, body) => Object.assign(ctx, { type: 'html', body });

const settings = {
  adapter: MapAdapter,
  claims: { profile: ['name'], email: ['email'] },
  cookies: { keys: ['only for tests'] },
  extraTokenClaims: (ctx, { sid, accountId, clientId }) => ({
    sid: clientId === 'desktop' ? undefined : sid,
    roles: accounts[accountId]?.roles,
  }),
  features: {
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    mTLS: { enabled: true, certificateBoundAccessTokens: true, getCertificate: certificateOf },
    resourceIndicators: { getResourceServerInfo: resourceServer, useGrantedResource: () => true },
    revocation: { enabled: true },
    rpInitiatedLogout: {
      logoutSource: (ctx, form) => page(ctx, `${form}<button form="op.logoutForm" name="logout" value="yes">Sign out`),
      postLogoutSuccessSource: (ctx) => page(ctx, 'Signed out'),
    },
  },
  fetch: post,
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts[id] }) }),
  interactions: { url: (ctx, { uid }) => `/interaction/${uid}` },
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  loadExistingGrant: grantAll,
  pkce: { required: () => true },
  renderError: (ctx, out) => { ctx.body = out; },
  responseTypes: ['code'],
  ttl: lifetimes,
};

/** Keys and clients are fixed when a Provider is built: each change builds a new one over the same store. */
function build() {
  const metadata = Object.entries(clients).map(([client_id, members]) => ({ client_id, ...members }));
  lab.provider = new Provider(lab.issuer, { ...settings, clients: metadata, jwks: ring.jwks() });
  lab.handle = lab.provider.callback();
  const note = ({ clientId }, sub, sid, outcome) => logouts.push({ client: clientId, sub, sid, outcome });
  lab.provider.on('backchannel.success', (ctx, client, sub, sid) => note(client, sub, sid, 'delivered'));
  lab.provider.on('backchannel.error', (ctx, error, client, sub, sid) => note(client, sub, sid, error.message));
  lab.provider.on('server_error', (ctx, error) => console.error(error));
}

async function interact(req, res) {
  const { prompt } = await lab.provider.interactionDetails(req, res);
  if (prompt.name !== 'login') return lab.provider.interactionFinished(req, res, { consent: {} });
  const { login: accountId, password } = Object.fromEntries(new URLSearchParams(await text(req)));
  if (Object.hasOwn(accounts, accountId) && accounts[accountId].password === password) {
    return lab.provider.interactionFinished(req, res, { login: { accountId } });
  }
  return res.writeHead(req.method === 'POST' ? 401 : 200, { 'content-type': 'text/html' }).end(
    '<form method="post"><input name="login"><input name="password" type="password"><button>Sign in</button></form>',
  );
}

/** Takes {"keys": "publish|activate|retire"}, {"fault": {"path", "name", …}}, {"clients": {"web": {…}}}. */
async function administer(req, res) {
  const order = req.method === 'POST' ? JSON.parse(await text(req)) : {};
  if (order.keys) ring.take(order.keys);
  if (order.fault) setFault(order.fault);
  Object.entries(order.clients ?? {}).forEach(([id, members]) => Object.assign(clients[id], members));
  if (order.keys || order.clients) build();
  res.writeHead(200, { 'content-type': 'application/json' })
    .end(JSON.stringify({ keys: ring.list(), logouts, answers, faults }));
}

async function serve(req, res) {
  const { pathname } = new URL(req.url, lab.issuer);
  if (pathname === '/lab') return administer(req, res);
  if (faulty(pathname, res)) return undefined;
  return pathname.startsWith('/interaction/') ? interact(req, res) : lab.handle(req, res);
}

const server = createServer((req, res) => {
  serve(req, res).catch((error) => {
    console.error(error);
    if (!res.headersSent) res.writeHead(error instanceof RangeError ? 400 : 500);
    res.end(`${error}`);
  });
});
server.listen(Number(process.argv[2]) || 0, '127.0.0.1', () => {
  lab.issuer = `http://127.0.0.1:${server.address().port}`;
  build();
  console.log(JSON.stringify({ issuer: lab.issuer }));
});
if (process.argv.includes('--leash')) process.stdin.resume().on('end', () => process.exit());
