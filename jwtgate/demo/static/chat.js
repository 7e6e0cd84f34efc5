// Two devices side by side. Tokens stay in this script's memory; whatever anybody wrote goes into the page as text alone.
"use strict";

(() => {
  const DEAD = 4401;        // JWTGATE_WS_CLOSE: the gate has ended it
  const NOBODY_KNOWS = 1013; // the store is away, so the gate lets nothing pass
  const TOO_BIG = 1009;
  const MOST_LINES = 200;
  const RETRY_SECONDS = 5;
  const RENEWALS_PER_LIFE = 4; // so often that a tab in the background, which may wake once a minute, is still in time

  const clock = () => new Date().toLocaleTimeString();
  const since = (at) => {
    const ms = performance.now() - at;
    return ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
  };

  function form(fields) {
    return { method: "POST", body: new URLSearchParams(fields) };
  }

  class Device {
    constructor(name) {
      this.name = name;
      const part = document.getElementById("panel").content.cloneNode(true).firstElementChild;
      const find = (selector) => part.querySelector(selector);
      this.part = part;
      this.state = find(".state");
      this.facts = find(".facts");
      this.log = find(".log");
      this.renewal = find(".renewal");
      this.verdict = find(".verdict");
      this.headline = find(".headline");
      this.why = find(".why");
      this.again = find(".again");
      this.input = find("input");
      this.own = find(".own");
      this.otherEnd = find(".other");
      this.sending = find(".say");
      const id = name.toLowerCase();
      part.id = id;
      part.setAttribute("aria-labelledby", `${id}-name`);
      find("h2").id = `${id}-name`;
      find("h2").textContent = name;
      this.log.setAttribute("aria-label", `Messages, as the ${id} hears them`);
      this.input.id = `${id}-text`;
      find("label").htmlFor = this.input.id;
      find("label").textContent = `Message from the ${id}`;
      this.sending.addEventListener("submit", (event) => { event.preventDefault(); this.say(); });
      this.own.addEventListener("click", () => this.end(this));
      this.otherEnd.addEventListener("click", () => this.end(this.other));
      this.again.addEventListener("click", () => this.resume());
      document.getElementById("panels").append(part);
    }

    pairWith(other) {
      this.other = other;
      this.otherEnd.textContent = `End the ${other.name.toLowerCase()}`;
    }

    // --- what is shown

    show(state, text) {
      this.part.dataset.state = state;
      this.state.textContent = text;
      const isOpen = state === "open";
      this.input.disabled = !isOpen;
      this.sending.querySelector("button").disabled = !isOpen;
      this.own.disabled = !isOpen;
      for (const each of [this, this.other]) each.otherEnd.disabled = !(this.isOpen() && this.other.isOpen());
      if (state !== "closed") this.verdict.hidden = true;
    }

    isOpen() {
      return this.part.dataset.state === "open";
    }

    note(text) {
      const line = document.createElement("li");
      line.className = "note";
      line.textContent = text;
      this.add(line);
    }

    hear(message) {
      const line = document.createElement("li");
      const who = document.createElement("span");
      const text = document.createElement("bdi");
      const isOwn = message.by === this.speaker;
      line.className = isOwn ? "said mine" : "said";
      who.className = "from";
      who.textContent = isOwn ? "This device" : String(message.from);
      text.textContent = String(message.text);
      line.append(who, text);
      this.add(line);
    }

    add(line) {
      this.log.append(line);
      while (this.log.childElementCount > MOST_LINES) this.log.firstElementChild.remove();
      this.log.scrollTop = this.log.scrollHeight;
    }

    // The socket is gone. What can be done about it is the one button that stays.
    close(headline, why, button) {
      const isLookedAt = this.call || this.part.contains(document.activeElement);
      clearTimeout(this.timer);
      this.renewal.textContent = "";
      this.verdict.hidden = false;
      this.headline.textContent = headline;
      this.why.textContent = why;
      this.again.textContent = button;
      this.show("closed", "Closed");
      if (isLookedAt) this.again.focus();
    }

    // --- tokens

    async logIn() {
      this.pair = null;
      this.show("waiting", "Logging in…");
      let answer;
      try {
        answer = await fetch("/chat/login", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ device: this.name }),
        });
      } catch {
        this.unanswered("Not logged in.", "Log in again");
        return;
      }
      if (!answer.ok) {
        this.close(`Not logged in: ${answer.status}.`, this.meaning(answer.status), "Log in again");
        return;
      }
      this.keep(await answer.json());
      this.isNew = true;
      this.open();
    }

    keep(pair) {
      this.pair = { ...this.pair, ...pair };
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.renew(), (pair.expires_in * 1000) / RENEWALS_PER_LIFE);
    }

    // The status of the answer; 0: there is none. Nothing is kept of an answer that comes after the end.
    async refresh() {
      const before = this.pair;
      try {
        const answer = await fetch("/auth/refresh", form({ refresh_token: before.refresh_token }));
        const pair = answer.ok ? await answer.json() : null;
        if (pair && this.pair === before) this.keep(pair);
        return answer.status;
      } catch {
        return 0;
      }
    }

    // In the background, well before the token expires. Nobody tells the socket of it: it is kept all the same.
    async renew() {
      const status = await this.refresh();
      if (!this.isOpen()) return;
      if (status === 200) {
        const isOutlived = performance.now() - this.openedAt > this.pair.expires_in * 1000;
        const more = isOutlived ? "; the first has expired" : "";
        this.renewal.textContent = `Token renewed ${clock()}, socket kept${more}.`;
      } else if (status === 0 || status >= 500) {
        this.renewal.textContent = `Token not renewed (${status || "no answer"}); again in ${RETRY_SECONDS} s.`;
        this.timer = setTimeout(() => this.renew(), RETRY_SECONDS * 1000);
      }
    }

    meaning(status) {
      if (status === 503) return "The store does not answer, so the gate cannot know, and refuses. Try again in a moment.";
      if (status === 401) return "The gate knows this token no more.";
      return "The server did not say why.";
    }

    // --- the socket

    open() {
      this.show("waiting", "Connecting…");
      const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/chat/socket`;
      const socket = new WebSocket(url, ["bearer", this.pair.access_token]);
      let isAccepted = false;
      this.socket = socket;
      socket.addEventListener("open", () => { isAccepted = true; });
      socket.addEventListener("message", (event) => this.told(JSON.parse(event.data)));
      socket.addEventListener("close", (event) => {
        if (this.socket !== socket) return;
        if (isAccepted) this.closed(event.code);
        else this.refused();
      });
    }

    told(message) {
      if (message.kind === "message") this.hear(message);
      else if (message.kind === "fault") this.note(message.text);
      else if (message.kind === "store") tellOfStore(message.is_up);
      else if (message.kind === "hello") {
        this.openedAt = performance.now();
        this.speaker = message.you;
        this.call = null;
        tellOfStore(true);
        this.show("open", "Open");
        this.facts.textContent = `session ${this.pair.session_id.slice(0, 8)}…, worker ${message.worker}`;
        this.note(`${this.isNew ? "Logged in as alice" : "Connected again"} at ${clock()}`);
        if (this.isNew) this.renewal.textContent = `Its token lives ${this.pair.expires_in} s, and is renewed.`;
        this.isNew = false;
        if (this.wantsFocus) this.input.focus();
        this.wantsFocus = false;
      }
    }

    closed(code) {
      const after = this.call ? `, ${since(this.call)} after the click` : ` at ${clock()}`;
      if (code === DEAD) {
        const why = this.call ? "Its session has ended." : "It was ended elsewhere, or its token ran out while this page slept.";
        if (this.call) this.pair = null;
        this.close(`Closed by the gate: ${code}${after}.`, why, "Log in again");
      } else if (code === NOBODY_KNOWS) {
        const why = "The store does not answer. Nobody can know whether this token is still good, so nothing passes.";
        this.close(`Closed by the gate: ${code}${after}.`, why, "Connect again");
      } else if (code === TOO_BIG) {
        this.close(`Closed by the server: ${code}.`, "The message was too big.", "Connect again");
      } else {
        this.unanswered(`Connection lost: ${code}.`, "Connect again");
      }
      this.call = null;
    }

    // A browser does not tell a script why a handshake failed; a request with the same token is told.
    async refused() {
      let status = 0;
      try {
        status = (await fetch("/", { headers: this.shown(), cache: "no-store" })).status;
      } catch {
        status = 0;
      }
      if (status === 0) this.unanswered("Not connected.", "Connect again");
      else if (status === 401) {
        this.pair = null;
        this.close("Not connected: 401.", this.meaning(401), "Log in again");
      } else this.close(`Not connected: ${status}.`, this.meaning(status), "Connect again");
    }

    // Where the session lives on, it goes on.
    async resume() {
      this.wantsFocus = true;
      this.show("waiting", "Connecting…");
      const status = this.pair ? await this.refresh() : 400;
      if (status === 200) this.open();
      else if (status === 0) this.unanswered("Not connected.", "Connect again");
      else if (status >= 500) this.close(`Not connected: ${status}.`, this.meaning(status), "Connect again");
      else this.logIn();
    }

    unanswered(headline, button) {
      this.close(headline, "The server does not answer. Is the demo still running?", button);
    }

    shown() {
      return { Authorization: `Bearer ${this.pair.access_token}` };
    }

    say() {
      if (this.socket.readyState !== WebSocket.OPEN || !this.input.value) return;
      this.socket.send(this.input.value);
      this.input.value = "";
    }

    // --- the end

    // One's own by logging out, the other's by naming its session.
    async end(target) {
      const [path, method] = target === this ? ["/auth/logout", "POST"] : [`/auth/sessions/${target.pair.session_id}`, "DELETE"];
      target.call = performance.now();
      let status = 0;
      try {
        status = (await fetch(path, { method, headers: this.shown() })).status;
      } catch {
        status = 0;
      }
      if (status !== 200 && target.isOpen()) {
        target.call = null;
        this.note(`Not ended (${status || "no answer"}). ${status === 503 ? "The store does not answer." : ""}`);
      }
    }

    // The tab goes: its session with it.
    leave() {
      if (this.pair) navigator.sendBeacon("/auth/logout", new URLSearchParams({ refresh_token: this.pair.refresh_token }));
    }
  }

  function tellOfStore(isUp) {
    const notice = document.getElementById("store");
    notice.hidden = isUp;
    notice.textContent = isUp ? "" : "The store does not answer. Whoever says something now is disconnected: nobody can know whether a token is still good.";
  }

  const phone = new Device("Phone");
  const laptop = new Device("Laptop");
  phone.pairWith(laptop);
  laptop.pairWith(phone);
  for (const each of [phone, laptop]) each.logIn();
  addEventListener("pagehide", () => { for (const each of [phone, laptop]) each.leave(); });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
