// A chart can be read day by day, with a pointer or with the arrow keys. The values come from the table under it.

function values(area) {
  const table = area.closest("figure").querySelector("table");
  const heads = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent));
  return { heads, rows };
}

function show(area, at) {
  const { heads, rows } = values(area);
  const index = Math.max(0, Math.min(rows.length - 1, at));
  const share = "bars" in area.dataset ? (index + 0.5) / rows.length : index / (rows.length - 1);
  let cursor = area.querySelector(".cursor");
  let tip = area.querySelector(".tip");
  if (!tip) {
    cursor = area.appendChild(Object.assign(document.createElement("div"), { className: "cursor" }));
    tip = area.appendChild(Object.assign(document.createElement("div"), { className: "tip" }));
  }
  const [day, ...cells] = rows[index];
  tip.replaceChildren(Object.assign(document.createElement("b"), { textContent: day }));
  cells.forEach((cell, number) => {
    tip.append(Object.assign(document.createElement("span"), { textContent: `${heads[number]}: ${cell}` }), document.createElement("br"));
  });
  const x = share * area.clientWidth;
  cursor.style.left = `${x}px`;
  const left = x + 12 + tip.offsetWidth > area.clientWidth ? x - 12 - tip.offsetWidth : x + 12;
  tip.style.left = `${Math.max(0, left)}px`;
  area.dataset.at = index;
  return `${day}. ${cells.map((cell, number) => `${heads[number]}: ${cell}`).join(", ")}`;
}

function hide(area) {
  area.querySelectorAll(".cursor, .tip").forEach((part) => part.remove());
  delete area.dataset.at;
}

function under(area, event) {
  const box = area.getBoundingClientRect();
  const count = values(area).rows.length;
  const share = (event.clientX - box.left) / box.width;
  return "bars" in area.dataset ? Math.floor(share * count) : Math.round(share * (count - 1));
}

const KEYS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -7, PageDown: 7, Home: -Infinity, End: Infinity };

export function followCharts() {
  document.addEventListener("pointermove", (event) => {
    const area = event.target.closest?.(".area");
    if (area) show(area, under(area, event));
  });
  document.addEventListener("pointerout", (event) => {
    const area = event.target.closest?.(".area");
    if (area && !area.contains(event.relatedTarget) && document.activeElement !== area) hide(area);
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.matches?.(".area")) hide(event.target);
  });
  document.addEventListener("keydown", (event) => {
    const area = event.target.closest?.(".area");
    if (!area) return;
    if (event.key === "Escape") hide(area);
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    const last = values(area).rows.length - 1;
    const from = area.dataset.at === undefined ? last + (KEYS[event.key] > 0 ? 0 : 1) : Number(area.dataset.at);
    const said = show(area, from + KEYS[event.key]);
    document.getElementById("announce").textContent = said;
  });
}
