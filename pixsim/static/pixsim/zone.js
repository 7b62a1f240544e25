/* Tells the server the browser's time zone, in which it shows and reads all times from the next page on. */
"use strict";
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const secure = location.protocol === "https:" ? "; Secure" : "";
document.cookie = `pixsim_zone=${zone}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
