/* Keeps elements fresh: <section data-live="url" data-live-seconds="2"> shows the `html` of the
   JSON at that URL, until the answer says that nothing changes any more (`live` is false).
   <details data-keep="name"> in it stay as open or closed as they are. */
"use strict";
for (const element of document.querySelectorAll("[data-live]")) {
  const seconds = Number(element.dataset.liveSeconds) || 5;
  const refresh = async () => {
    if (document.hidden) {
      return setTimeout(refresh, seconds * 1000);
    }
    try {
      const answer = await fetch(element.dataset.live, { headers: { Accept: "application/json" } });
      if (!answer.ok || answer.redirected) {
        throw new Error(`HTTP ${answer.status}`);
      }
      const { html, live } = await answer.json();
      const open = new Map();
      for (const part of element.querySelectorAll("details[data-keep]")) {
        open.set(part.dataset.keep, part.open);
      }
      element.innerHTML = html;
      for (const part of element.querySelectorAll("details[data-keep]")) {
        part.open = open.get(part.dataset.keep) ?? part.open;
      }
      element.classList.remove("px-stale");
      if (!live) {
        return;
      }
    } catch {
      element.classList.add("px-stale"); // shown dimmed until an answer comes again
    }
    setTimeout(refresh, seconds * 1000);
  };
  if (!("liveEnded" in element.dataset)) {
    setTimeout(refresh, seconds * 1000);
  }
}
