// The pages are whole without this. It makes the next step quicker: links and forms of the page fetch the next page and
// put its parts in place of the present ones, so that nothing flashes, the focus stays, and what is typed is kept.

import { followCharts } from "./charts.js?v=@VERSION@";
import { explainOnRequest } from "./explanation.js?v=@VERSION@";

const SEARCH_AFTER_MS = 180; // without a key

let running = null;

async function go(address, { push = true, land = null } = {}) {
  running?.abort();
  const mine = (running = new AbortController());
  const results = document.getElementById("results");
  results?.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { signal: mine.signal, headers: { accept: "text/html" } });
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!next.getElementById("results")) {
      location.assign(address); // a page that says why not
      return;
    }
    put(next, land);
    if (push && address !== location.href) history.pushState(null, "", address);
  } catch (error) {
    if (error.name === "AbortError") return;
    results?.removeAttribute("aria-busy");
    say(document.body.dataset.failed);
  }
}

// Every part of the next page takes the place of the part of that name. The focus stays on the element of its id; where
// that is gone with its part, it lands on another, so that nobody starts again at the top.
function put(next, land) {
  const focused = document.activeElement;
  document.title = next.title;
  for (const part of next.querySelectorAll("[data-part]")) {
    document.querySelector(`[data-part="${part.dataset.part}"]`)?.replaceWith(document.adoptNode(part));
  }
  for (const name of ["lang", "theme"]) refreshSwitch(next, name);
  const search = document.getElementById("q");
  if (search && search !== focused) search.value = next.getElementById("q")?.value ?? "";
  if (focused && !focused.isConnected) {
    const same = focused.id && document.getElementById(focused.id);
    const place = same || document.getElementById(land ?? "content");
    place?.focus({ preventScroll: true });
    if (!same) place?.scrollIntoView({ block: land === "results" ? "start" : "nearest" });
  }
  say(document.getElementById("results")?.dataset.said);
}

// The switches lead to this page in another language or theme: their addresses follow what is shown.
function refreshSwitch(next, name) {
  const here = document.querySelectorAll(`.switch a[href*="${name}="]`);
  const there = next.querySelectorAll(`.switch a[href*="${name}="]`);
  here.forEach((link, at) => there[at] && link.setAttribute("href", there[at].getAttribute("href")));
}

function say(text) {
  const announce = document.getElementById("announce");
  if (announce && text) announce.textContent = text;
}

function addressOf(form) {
  const address = new URL(form.getAttribute("action"), location.href);
  for (const [name, value] of new FormData(form)) if (value) address.searchParams.set(name, value);
  return address.href;
}

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest("a");
  if (link?.dataset.themeChoice) {
    event.preventDefault();
    choose(link);
  } else if (link && "go" in link.dataset) {
    event.preventDefault();
    go(link.href, { land: link.rel ? "results" : "q" });
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!document.getElementById("results") || !form.matches(".search, .dates")) return;
  event.preventDefault();
  go(addressOf(form));
});

let typed = 0;
document.addEventListener("input", (event) => {
  if (!event.target.matches("#q")) return;
  clearTimeout(typed);
  typed = setTimeout(() => go(addressOf(event.target.form)), SEARCH_AFTER_MS);
});

window.addEventListener("popstate", () => {
  document.activeElement?.blur?.();
  go(location.href, { push: false });
});

// A theme is shown at once and remembered in a cookie, so that the server sends the next page in it.
function choose(link) {
  const theme = link.dataset.themeChoice;
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax`;
  for (const other of document.querySelectorAll("[data-theme-choice]")) {
    if (other === link) other.setAttribute("aria-current", "true");
    else other.removeAttribute("aria-current");
  }
}

// How long ago the snapshot was published and its newest session began, while the page stays open; in the server's words.
function age() {
  for (const time of document.querySelectorAll("time[data-age]")) {
    const hours = Math.floor((Date.now() - Date.parse(time.dateTime)) / 3_600_000);
    const [said, count] = hours < 48 ? [time.dataset.hours, hours] : [time.dataset.days, Math.floor(hours / 24)];
    if (hours >= 1) time.textContent = said.replace("{n}", new Intl.NumberFormat(document.documentElement.lang).format(count));
  }
}
setInterval(age, 60_000);

if (document.body.dataset.again) {
  setTimeout(() => location.reload(), Number(document.body.dataset.again) * 1000);
}

followCharts();
explainOnRequest(say);
