// For operators: asks why the number is what it is, and fills in the steps that the page holds. The token stays in its
// field: it goes into a header, never into an address or a store.

let running = null;

export function explainOnRequest(say) {
  document.addEventListener("submit", (event) => {
    if (!event.target.matches(".why .token")) return;
    event.preventDefault();
    ask(event.target, say);
  });
}

async function ask(form, say) {
  running?.abort();
  const mine = (running = new AbortController());
  const part = document.querySelector('[data-part="explanation"]');
  const tell = (text) => {
    const said = document.getElementById("why-said");
    said.textContent = text;
    said.hidden = !text;
  };
  part.hidden = true;
  tell(form.dataset.working);
  const { creator, from, to } = part.dataset;
  try {
    const answer = await fetch(`api/v1/creators/explanation?${new URLSearchParams({ creatorId: creator, from, to })}`, {
      signal: mine.signal,
      headers: { authorization: `Bearer ${document.getElementById("token").value.trim()}` },
    });
    const said = await answer.json();
    if (!part.isConnected) return tell(""); // another range was chosen meanwhile
    if (answer.status === 401) return tell(form.dataset.unauthorized);
    if (answer.status === 403) return tell(form.dataset.forbidden);
    if (!answer.ok) return tell(said.errors.join(" "));
    tell("");
    fill(part, said.data);
    say(part.querySelector("[data-verdict]:not([hidden])").textContent);
  } catch (error) {
    if (error.name !== "AbortError") tell(document.body.dataset.failed);
  }
}

function fill(part, data) {
  const number = new Intl.NumberFormat(document.documentElement.lang);
  const figures = {
    ...data,
    viewersAgain: data.viewerDays - data.viewers,
    devicesAgain: data.deviceDays - data.anonymousViewers,
  };
  for (const row of part.querySelectorAll("[data-step]")) {
    const figure = row.dataset.step.split(".").reduce((value, name) => value[name], figures);
    row.querySelector(".count").textContent = number.format(figure);
    row.hidden = figure === 0 && !["records", "sessions", "viewers"].includes(row.dataset.step);
  }
  const values = { ...data.published, status: data.status, wouldBe: data.viewers, rejects: data.mentionedInRejects };
  const write = (element) => {
    element.dataset.text ??= element.textContent;
    element.textContent = element.dataset.text.replace(/\{(\w+)\}/g, (_, name) =>
      typeof values[name] === "number" ? number.format(values[name]) : (values[name] ?? ""),
    );
  };
  for (const verdict of part.querySelectorAll("[data-verdict]")) {
    verdict.hidden = verdict.dataset.verdict !== verdictOf(data);
    write(verdict);
  }
  const rejects = part.querySelector("[data-rejects]");
  rejects.hidden = !data.mentionedInRejects;
  write(rejects);
  const columns = [...part.querySelectorAll("[data-of]")].map((head) => head.dataset.of);
  const rows = data.byDay.filter((day) => day.sessions).map((day) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = day.day;
    row.append(head, ...columns.map((name) => cell(number.format(day[name]))));
    return row;
  });
  part.querySelector(".by-day tbody").replaceChildren(...rows);
  part.hidden = false;
  part.querySelector("h3").focus({ preventScroll: true });
}

function cell(text) {
  const made = document.createElement("td");
  made.textContent = text;
  return made;
}

function verdictOf(data) {
  if (!data.agrees) return "differs";
  if (data.published) return "agrees";
  return data.status === "banned" || data.status === "deleted" ? "banned" : "nobody";
}
