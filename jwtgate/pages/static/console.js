// Only makes pages livelier: without it everything works, by links, forms and reloads.
"use strict";

(() => {
  const live = () => document.getElementById("live");

  // What the reader has opened stays open, and a status that says the same is not said again.
  function keep(part, fresh) {
    const opened = [...part.querySelectorAll("details")].map((each) => each.open);
    fresh.querySelectorAll("details").forEach((each, place) => { each.open = opened[place] || false; });
    const before = part.querySelector("[role=status]");
    const after = fresh.querySelector("[role=status]");
    if (!before || !after) return;
    if (before.textContent.trim() !== after.textContent.trim()) before.replaceChildren(...after.childNodes);
    after.replaceWith(before);
  }

  // A part of the page that is fetched again and again while it is looked at.
  async function refresh() {
    const part = live();
    if (!part || !part.dataset.refresh) return;
    const pause = Number(part.dataset.refresh);
    const isBusy = part.contains(document.activeElement) && document.activeElement !== document.body;
    if (!document.hidden && !isBusy) {
      try {
        const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } });
        if (answer.ok || answer.status === 503) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
          if (fresh) {
            keep(part, fresh);
            part.replaceChildren(...fresh.childNodes);
            if (fresh.dataset.refresh) part.dataset.refresh = fresh.dataset.refresh;
            else delete part.dataset.refresh;
          }
        } else if (answer.status === 401 || answer.status === 403) {
          location.reload();
          return;
        }
      } catch {
        // The next turn tries again.
      }
    }
    if (live() && live().dataset.refresh) setTimeout(refresh, pause);
  }
  if (live() && live().dataset.refresh) setTimeout(refresh, Number(live().dataset.refresh));

  // Where the gate wants X-CSRF-TOKEN (JWTGATE_CSRF=double-submit) a plain form cannot send it: the script does, from its cookie.
  const submitted = document.cookie.match(/(?:^|; )(?:__Host-)?csrf_access_token=([^;]+)/);
  document.querySelectorAll("form[method=post]").forEach((form) => {
    if (!submitted) return;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const answer = await fetch(form.action, {
        method: "POST", body: new URLSearchParams(new FormData(form)), headers: { "X-CSRF-TOKEN": submitted[1] },
      });
      if (answer.redirected) location.assign(answer.url);
      else {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        document.querySelector("main").replaceWith(page.querySelector("main") || page.body);
      }
    });
  });

  // The change log as it grows: rows as the server draws them, put before those that are there.
  const feed = document.getElementById("feed");
  const state = document.getElementById("feed-state");
  const MOST = 500;
  function say(text, isOn) {
    state.textContent = text;
    state.classList.toggle("on", isOn);
  }
  if (feed && window.EventSource) {
    const source = new EventSource(feed.dataset.stream);
    source.onopen = () => say("Live", true);
    source.onerror = () => say(source.readyState === EventSource.CLOSED ? "Ended: log in again" : "Connecting…", false);
    source.onmessage = (event) => {
      const rows = new DOMParser().parseFromString(`<ol>${event.data}</ol>`, "text/html").querySelectorAll("ol > li");
      feed.prepend(...rows);
      while (feed.childElementCount > MOST) feed.lastElementChild.remove();
      const empty = document.getElementById("feed-empty");
      if (empty) empty.remove();
    };
  }
})();
