// What the pages do beyond htmx: ages that grow while a page is left open, logs that open at the cause, and a word
// when the server is gone.
"use strict";

function ago(seconds) {
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

function renewAges() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

// A log opens where its cause is: at the line that the headline quotes, else at its end.
function openLogs(within) {
  for (const log of within.querySelectorAll(".log")) {
    const hit = log.querySelector(".hit");
    log.scrollTop = hit ? hit.offsetTop - log.clientHeight / 3 : log.scrollHeight;
  }
}

// The worst first, as the server sorts them: rows that changed move to where they belong.
function placeRows() {
  const moved = [...document.querySelectorAll("tr[data-moved]")];
  const places = moved.map((row) => row.parentNode);
  for (const row of moved) row.remove();
  moved.forEach((row, index) => {
    const rows = places[index].rows;
    const more = places[index].querySelector("tr[data-more]");
    // It belongs to those that haven't come yet, and comes with them.
    if (more && row.dataset.order > more.dataset.order) return;
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].dataset.order < row.dataset.order) low = middle + 1;
      else high = middle;
    }
    delete row.dataset.moved;
    places[index].insertBefore(row, rows[low] || null);
  });
}

// Of a long table not all rows are there. One that changed gets a place if it belongs among those that are; else it is
// left out, and comes with the others.
document.addEventListener("htmx:beforeSwap", (event) => {
  const more = document.querySelector("tr[data-more]");
  if (!more) return;
  const answer = document.createElement("template");
  answer.innerHTML = event.detail.serverResponse;
  const rows = answer.content.querySelector("template");
  if (!rows) return;
  for (const row of rows.content.querySelectorAll("tr[data-moved]")) {
    if (document.getElementById(row.id)) continue;
    if (row.dataset.order > more.dataset.order) {
      row.remove();
    } else {
      const place = document.createElement("tr");
      place.id = row.id;
      more.before(place);
    }
  }
  event.detail.serverResponse = answer.innerHTML;
});

openLogs(document);
document.addEventListener("htmx:afterSettle", (event) => {
  openLogs(event.detail.elt);
  placeRows();
});
setInterval(renewAges, 20000);
document.addEventListener("htmx:sendError", () => document.body.classList.add("is-offline"));
document.addEventListener("htmx:afterOnLoad", () => document.body.classList.remove("is-offline"));
document.addEventListener("htmx:responseError", (event) => {
  // Logged out meanwhile: the whole page says so better than a part of it that stands still.
  if (event.detail.xhr.status === 403) location.reload();
});
