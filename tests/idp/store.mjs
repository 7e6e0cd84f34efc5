// Where oidc-provider keeps sessions, grants and codes: one map for the whole process. It outlives the Provider
// object, so that a Provider built with other keys goes on with the same logins. (Expiry is the library's to check.)

const rows = new Map();

export class MapAdapter {
  constructor(model) {
    this.prefix = `${model}:`;
  }

  #mine = ([key]) => key.startsWith(this.prefix);

  async upsert(id, payload) { rows.set(this.prefix + id, payload); }

  async find(id) { return rows.get(this.prefix + id); }

  async findByUid(uid) { return [...rows].filter(this.#mine).find(([, row]) => row.uid === uid)?.[1]; }

  async consume(id) { Object.assign(rows.get(this.prefix + id) ?? {}, { consumed: Math.floor(Date.now() / 1000) }); }

  async destroy(id) { rows.delete(this.prefix + id); }

  async revokeByGrantId(grantId) {
    const members = [...rows].filter(this.#mine).filter(([, row]) => row.grantId === grantId);
    members.forEach(([key]) => rows.delete(key));
  }
}
