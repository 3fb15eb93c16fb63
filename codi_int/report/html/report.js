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
// a row, or a problem that changed, is shown where every field above it agrees
const asked = (field, item) => {
  if (field.type === "search") {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = words.length ? item.textContent.toLowerCase() : "";
    return words.every((word) => text.includes(word));
  }
  if (field.type === "checkbox") return field.checked || item.dataset.what !== field.value;
  if (field.value === "") return true;
  const cell = item.cells[field.dataset.column].textContent.trim();
  if (field.tagName === "SELECT") return cell === field.value;
  const number = parseFloat(cell.replace(/,/g, ""));
  return field.dataset.end === "least" ? number >= field.valueAsNumber : number <= field.valueAsNumber;
};
for (const bar of document.querySelectorAll("div.filters")) {
  const place = document.getElementById(bar.dataset.table || bar.dataset.list);
  const items = [...(bar.dataset.table ? place.tBodies[0].rows : place.children)];
  const fields = [...bar.querySelectorAll("input, select")];
  const out = bar.querySelector("output");
  bar.hidden = false;
  bar.addEventListener("input", () => {
    let shown = 0;
    for (const item of items) {
      item.hidden = !fields.every((field) => asked(field, item));
      shown += !item.hidden;
    }
    out.textContent = `${shown.toLocaleString("en")} of ${items.length.toLocaleString("en")} shown`;
  });
}
// a feature of another page of the same dashboard: the link that says it covers L10.P5/0-511
const pageOf = (address) => {
  const [, label, feature] = /^(.+)\/(\d+)$/.exec(address) || [];
  for (const link of label ? document.querySelectorAll("a[data-covers]") : []) {
    const [, name, first, last] = /^(.+)\/(\d+)-(\d+)$/.exec(link.dataset.covers);
    if (name === label && +first <= +feature && +feature <= +last) return `${link.getAttribute("href")}#${address}`;
  }
  return "";
};
// an address such as #L10.P5/121 opens what it names
const open = () => {
  const address = decodeURIComponent(location.hash.slice(1));
  const found = document.getElementById(address);
  const elsewhere = found ? "" : pageOf(address);
  if (elsewhere) location.replace(elsewhere);
  for (let part = found; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  if (found) found.scrollIntoView();
};
const form = document.getElementById("goto");
if (form) {
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const address = form.elements.address.value.trim().replace(/^#/, "");
    const page = pageOf(address);
    form.querySelector("output").textContent = page ? "" : `no feature ${address} here`;
    if (page) location.href = page;
  });
}
addEventListener("hashchange", open);
if (location.hash) open();
