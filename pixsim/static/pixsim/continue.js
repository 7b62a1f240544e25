/* Sends the form for the next batch of an action. Without scripts its button does. */
"use strict";

document.querySelector("form[data-continue]")?.submit();
