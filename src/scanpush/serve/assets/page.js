// Keeps the parts of a page that are marked with data-live up to date: the server says over server-sent events that something may have changed, and
// the page fetches itself again and replaces these parts. Without this script a page shows the state at the time it was loaded.
"use strict";
(() => {
  // What became of an order is said once, not again when the page is loaded again.
  const here = new URL(location.href);
  if (here.searchParams.has("result") && here.searchParams.get("result") !== "sent") {
    here.searchParams.delete("result");
    history.replaceState(null, "", here);
  }
  const parts = () => document.querySelectorAll("[data-live]");
  if (parts().length === 0 || !window.EventSource) return;
  // What somebody is typing into or has selected stays.
  const isInUse = (part) => {
    const active = document.activeElement;
    const selection = getSelection();
    const types = part.contains(active) && active.matches("input, textarea, select");
    return types || (!selection.isCollapsed && selection.rangeCount > 0 && selection.getRangeAt(0).intersectsNode(part));
  };
  // The same link or button in a fresh copy of its part.
  const selectorOf = (element) => {
    if (element.matches("summary")) return "summary";
    if (element.id) return `#${CSS.escape(element.id)}`;
    if (element.matches("a[href]")) return `a[href="${CSS.escape(element.getAttribute("href"))}"]`;
    const action = element.closest("form")?.getAttribute("action");
    return action ? `form[action="${CSS.escape(action)}"] button` : null;
  };
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
        if (!other || part.innerHTML === other.innerHTML || isInUse(part)) continue;
        const focused = part.contains(document.activeElement) ? selectorOf(document.activeElement) : null;
        // What was opened stays open, and a table that was scrolled to the side stays there.
        const opened = [...part.querySelectorAll("details")].map((details) => details.open);
        const scrolled = [...part.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
        part.replaceChildren(...other.childNodes);
        part.querySelectorAll("details").forEach((details, n) => (details.open ||= opened[n] ?? false));
        part.querySelectorAll(".scroll").forEach((box, n) => (box.scrollLeft = scrolled[n] ?? 0));
        if (focused) part.querySelector(focused)?.focus({ preventScroll: true });
      }
    } catch {
      // The server is away; the event source connects again by itself.
    } finally {
      busy = false;
    }
  };
  const RETRY_MS = 15000;
  // A hidden page needs no connection: a browser has only a few for each server.
  let events = null;
  const follow = () => {
    events?.close();
    events = null;
    if (document.hidden) return;
    events = new EventSource("/events");
    events.addEventListener("changed", refresh);
    // A browser does not try again by itself after a refusal, such as for too many open pages.
    const own = events;
    own.addEventListener("error", () => {
      if (own.readyState !== EventSource.CLOSED) return;
      setTimeout(() => {
        if (events !== own) return;
        refresh();
        follow();
      }, RETRY_MS);
    });
  };
  document.addEventListener("visibilitychange", follow);
  addEventListener("pagehide", () => events?.close());
  addEventListener("pageshow", follow);
})();
