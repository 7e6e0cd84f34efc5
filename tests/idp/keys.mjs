// The provider's signing keys: an RSA and an EC key per generation, and the three steps of a rotation.

import { generateKeyPairSync, randomUUID } from 'node:crypto';

const KINDS = { RS256: ['rsa', { modulusLength: 2048 }], ES256: ['ec', { namedCurve: 'P-256' }] };
const ORDER = ['active', 'next', 'old'];

function generation(state) {
  return Object.entries(KINDS).map(([alg, [type, options]]) => {
    const jwk = generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' });
    return { state, jwk: { ...jwk, kid: `${alg.toLowerCase()}-${randomUUID().slice(0, 8)}`, alg, use: 'sig' } };
  });
}

export class KeyRing {
  #keys = generation('active');

  /** The private JWK Set. oidc-provider signs with the first key that fits, so the active ones lead. */
  jwks() {
    const sorted = this.#keys.toSorted((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
    return { keys: sorted.map(({ jwk }) => jwk) };
  }

  list() { return this.#keys.map(({ state, jwk: { kid, alg } }) => ({ kid, alg, state })); }

  /** publish: new keys, not yet used · activate: sign with them, keep the old · retire: drop the old. */
  take(step) {
    if (step === 'publish') {
      this.#keys.push(...generation('next'));
    } else if (step === 'activate' && this.#keys.some(({ state }) => state === 'next')) {
      this.#keys.forEach((key) => { key.state = key.state === 'next' ? 'active' : 'old'; });
    } else if (step === 'retire') {
      this.#keys = this.#keys.filter(({ state }) => state !== 'old');
    } else {
      throw new RangeError(`no such step now: ${step}`);
    }
  }
}
