// Keeps the parts of a page that are marked with data-live up to date: the server says over server-sent events that something may have changed, and
// the page fetches itself again and replaces these parts. Without this script a page shows the state at the time it was loaded.
"use strict";
(() => {
  const parts = () => document.querySelectorAll("[data-live]");
  if (parts().length === 0 || !window.EventSource) return;
  let busy = false;
  const refresh = async () => {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      // The session has ended.
      if (answer.redirected) location.reload();
      if (!answer.ok || answer.redirected) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts()) {
        const other = fresh.getElementById(part.id);
        // What somebody is about to press or to type into stays.
        if (!other || part.contains(document.activeElement) || part.innerHTML === other.innerHTML) continue;
        part.replaceChildren(...other.childNodes);
      }
    } catch {
      // The server is away; the event source connects again by itself.
    } finally {
      busy = false;
    }
  };
  const events = new EventSource("/events");
  events.addEventListener("changed", refresh);
  document.addEventListener("visibilitychange", refresh);
})();
