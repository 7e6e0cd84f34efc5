// Ways in which an endpoint of the provider can misbehave. A test sets one by name, or gives the answer itself.

import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';

const JSON_TYPE = { 'content-type': 'application/json' };

function answer(res, { status = 200, headers = JSON_TYPE, body = '' }) {
  res.writeHead(status, headers).end(body);
}

function drip(res) {
  res.writeHead(200, JSON_TYPE).write('{"keys":[');
  const timer = setInterval(() => res.write(' '), 100);
  res.on('close', () => clearInterval(timer));
}

function* padded(bytes) {
  for (let left = bytes; left > 0; left -= 65_536) yield ' '.repeat(65_536);
  yield '{"keys":[]}';
}

const zeros = (bytes) => gzipSync(Buffer.alloc(bytes));

const FAULTS = {
  none: undefined,
  answer,
  drip,
  huge: (res, { bytes = 50_000_000 }) => Readable.from(padded(bytes)).pipe(res.writeHead(200, JSON_TYPE)),
  bomb: (res, { bytes = 50_000_000 }) => answer(res.setHeader('content-encoding', 'gzip'), { body: zeros(bytes) }),
  error: (res) => answer(res, { status: 500, body: '{"error":"server_error"}' }),
  hang: () => {},
  html: (res) => answer(res, { headers: { 'content-type': 'text/html' }, body: '<h1>Under maintenance</h1>' }),
  redirect: (res, { to }) => answer(res, { status: 302, headers: { location: to } }),
  reset: (res) => res.destroy(),
};

/** Which path misbehaves how, and how often it was asked since that was last set: path → { name, …options, asked }. */
export const faults = {};

export function setFault({ path, name, ...options }) {
  if (!Object.hasOwn(FAULTS, name)) throw new RangeError(`no such fault: ${name}`);
  faults[path] = { name, ...options, asked: 0 };
}

/** Counts a request for a watched path; true when its fault answered instead of the provider. */
export function faulty(path, res) {
  const fault = faults[path];
  if (!fault) return false;
  fault.asked += 1;
  FAULTS[fault.name]?.(res, fault);
  return fault.name !== 'none';
}
