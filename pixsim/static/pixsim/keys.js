/* The keys ← and → follow the links of a page to the previous and the next row. */
"use strict";
document.addEventListener("keydown", (event) => {
  const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  const isPlain = !(event.altKey || event.ctrlKey || event.metaKey || event.shiftKey);
  if (rel && isPlain && !event.target.closest("input, select, textarea, [contenteditable]")) {
    document.querySelector(`a[rel=${rel}]`)?.click();
  }
});
