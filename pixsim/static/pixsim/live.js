/* Keeps elements fresh: <section data-live="url" data-live-seconds="2"> becomes what the `html` of the
   JSON at that URL says, until the answer says that nothing changes any more (`live` is false).
   `title`, if there is one, becomes the page's.

   The elements stay, and only what differs is changed: so focus, selection, scroll positions, running
   transitions and what somebody entered or opened survive. Children are compared by their place, or by
   `data-key` where some may be added or removed. Hidden pages ask nothing. */
"use strict";

const LONGEST_PAUSE = 60;
const LONGEST_ANSWER = 20;

const keyOf = (node) => (node.dataset?.key ? `${node.nodeName} ${node.dataset.key}` : "");

function morph(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) {
      old.data = fresh.data;
    }
    return;
  }
  const kept = old.nodeName === "DETAILS" ? "open" : "";
  for (const { name } of [...old.attributes]) {
    if (name !== kept && !fresh.hasAttribute(name)) {
      old.removeAttribute(name);
    }
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== kept && old.getAttribute(name) !== value) {
      old.setAttribute(name, value);
    }
  }
  morphChildren(old, fresh);
}

function morphChildren(old, fresh) {
  const wanted = new Set([...fresh.childNodes].map(keyOf));
  const keyed = new Map();
  for (const child of [...old.childNodes]) {
    if (!wanted.has(keyOf(child)) && keyOf(child)) {
      child.remove();
    } else {
      keyed.set(keyOf(child), child);
    }
  }
  old.normalize();
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    while (place?.nodeType === Node.TEXT_NODE && child.nodeType !== Node.TEXT_NODE) {
      const text = place;
      place = place.nextSibling;
      text.remove();
    }
    let match = keyed.get(keyOf(child) || "none");
    if (!match && place && !keyOf(child) && !keyOf(place) && place.nodeName === child.nodeName) {
      match = place;
    }
    if (match && match === place) {
      place = place.nextSibling;
    } else {
      old.insertBefore(match ?? child, place);
    }
    if (match) {
      morph(match, child);
    }
  }
  while (place) {
    const rest = place;
    place = place.nextSibling;
    rest.remove();
  }
}

function update(element, html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const selection = getSelection();
  const { anchorNode, anchorOffset, focusNode, focusOffset, isCollapsed } = selection;
  morphChildren(element, fresh);
  if (focused && document.activeElement !== focused) {
    element.tabIndex = -1;
    (focused.isConnected ? focused : element).focus({ preventScroll: true });
  }
  const ends = [anchorNode, focusNode].every((node) => node?.isConnected && element.contains(node));
  if (!isCollapsed && ends) {
    const within = (node, offset) =>
      Math.min(offset, node.nodeType === Node.TEXT_NODE ? node.length : node.childNodes.length);
    selection.setBaseAndExtent(
      anchorNode, within(anchorNode, anchorOffset), focusNode, within(focusNode, focusOffset));
  }
}

function ageInWords(seconds) {
  const minutes = Math.floor(seconds / 60);
  return minutes < 1 ? `${Math.floor(seconds)} s` : minutes < 60 ? `${minutes} min` :
    `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/* Return why there are no new figures, and whether there may be some later; none: there are. */
function problemOf(answer) {
  if (answer.type === "opaqueredirect" || answer.status === 401) {
    return { why: "Your session has ended.", login: true, again: true };
  }
  if (answer.status === 403) {
    return { why: "You may not see this any more.", again: false };
  }
  if (answer.status === 404) {
    return { why: "This has been deleted.", again: false };
  }
  const why = `The server answers with an error (${answer.status}); it is asked again.`;
  return answer.ok ? null : { why, again: true };
}

class Live {
  constructor(element) {
    this.element = element;
    this.seconds = Number(element.dataset.liveSeconds) || 5;
    this.takenAt = Date.now();
    this.failures = 0;
    this.isOver = "liveEnded" in element.dataset;
    this.isAsking = false;
    this.notice = document.createElement("p");
    this.notice.className = "px-live-notice";
    this.notice.hidden = true;
    this.notice.innerHTML = '<span role="status"></span> <span></span> <a></a>';
    element.before(this.notice);
    setInterval(() => this.showAge(), 1000);
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    this.wait();
  }

  wait() {
    clearTimeout(this.timer);
    if (!this.isOver) {
      const seconds = Math.min(this.seconds * 2 ** this.failures, LONGEST_PAUSE);
      this.timer = setTimeout(() => this.refresh(), seconds * 1000);
    }
  }

  async refresh() {
    if (document.hidden || this.isAsking) {
      return;
    }
    this.isAsking = true;
    try {
      this.tell(await this.ask());
    } catch {
      this.tell({ why: "The server does not answer; it is asked again.", again: true });
    }
    this.isAsking = false;
    this.wait();
  }

  /* Show the figures of now; return what prevents that, if something does. */
  async ask() {
    const answer = await fetch(this.element.dataset.live, {
      headers: { Accept: "application/json" },
      redirect: "manual",
      signal: AbortSignal.timeout(LONGEST_ANSWER * 1000),
    });
    const problem = problemOf(answer);
    if (!problem) {
      const { html, live, title } = await answer.json();
      update(this.element, html);
      document.title = title ?? document.title;
      this.takenAt = Date.now();
      this.isOver = !live;
    }
    return problem;
  }

  tell(problem) {
    this.failures = problem ? this.failures + 1 : 0;
    this.isOver ||= problem ? !problem.again : false;
    this.element.classList.toggle("px-stale", Boolean(problem));
    this.notice.hidden = !problem;
    const [why, , link] = this.notice.children;
    if (why.textContent !== (problem?.why ?? "")) {
      why.textContent = problem?.why ?? "";
    }
    link.textContent = problem?.login ? "Log in again" : "";
    link.href = location.href;
    this.showAge();
  }

  showAge() {
    if (!this.notice.hidden) {
      const at = new Date(this.takenAt).toLocaleTimeString();
      const age = ageInWords((Date.now() - this.takenAt) / 1000);
      this.notice.children[1].textContent = `The figures below are ${age} old, of ${at}.`;
    }
  }
}

for (const element of document.querySelectorAll("[data-live]")) {
  new Live(element);
}
