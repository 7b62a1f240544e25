/* Gives names and keyboard access to what Django's own pages and scripts draw without them. */
"use strict";
const words = (text) => {
  const hidden = document.createElement("span");
  hidden.className = "visually-hidden";
  hidden.textContent = text;
  return hidden;
};
const searchbar = document.getElementById("searchbar");
searchbar?.setAttribute("aria-label", "Search");
for (const [selector, name] of [[".results", "the list"], ["#change-history", "the history"]]) {
  const region = document.querySelector(selector);
  region?.setAttribute("role", "region");
  region?.setAttribute("aria-label", name);
}
for (const region of document.querySelectorAll(".results, #change-history, .tabular fieldset.module")) {
  region.tabIndex = 0; // it may be wider than the window, and is scrolled by the arrow keys
}
for (const cell of document.querySelectorAll(".tabular thead th:empty, .tabular thead th.original")) {
  cell.append(words(cell.classList.contains("original") ? "row" : "delete"));
}
addEventListener("load", () => {
  for (const icon of document.querySelectorAll("span.help-tooltip[aria-label]")) {
    icon.setAttribute("role", "img");
  }
});
// Behind Django's own function for it, which draws the choosers.
window.django?.jQuery?.(() => {
  for (const chooser of document.querySelectorAll("select.select2-hidden-accessible")) {
    const label = chooser.getAttribute("aria-label") || chooser.labels[0]?.textContent.trim() || chooser.name;
    for (const part of chooser.parentElement.querySelectorAll("[role=combobox], [role=textbox]")) {
      part.setAttribute("aria-label", label);
    }
  }
});
