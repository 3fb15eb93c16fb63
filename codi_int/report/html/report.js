"use strict";
// Sorting and searching. Without a script the page says the same; its tables stand as they were written.
const NUMBER = /^[<>\s]*([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)/i;
const valueOf = (row, column) => {
  const text = row.cells[column].textContent.trim();
  const found = NUMBER.exec(text);
  return [found ? parseFloat(found[1].replace(/,/g, "")) : NaN, text];
};
const compare = ([a, s], [b, t]) => {
  if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b) || s.localeCompare(t);
  return a - b || s.localeCompare(t);
};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = head.title || "sort by this column";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const keyed = [...body.rows].map((row) => [valueOf(row, column), row]);
      // cells without a number stay last in either direction
      keyed.sort(([a], [b]) => (down && !isNaN(a[0]) && !isNaN(b[0]) ? -compare(a, b) : compare(a, b)));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}
for (const field of document.querySelectorAll("input[type=search]")) {
  field.hidden = false;
  const rows = [...document.getElementById(field.getAttribute("aria-controls")).tBodies[0].rows];
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}
// an address such as #L10.P5/121 opens what it names
const open = () => {
  const found = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = found; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  if (found) found.scrollIntoView();
};
addEventListener("hashchange", open);
if (location.hash) open();
