// Updates relative times, and shows a message while the server does not answer.
"use strict";
(() => {
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  const relative = (moment) => {
    const seconds = Math.round((moment - Date.now()) / 1000);
    const size = Math.abs(seconds);
    if (size < 1) return "now";
    const [unit, name] = UNITS.find(([unit]) => size >= unit);
    const words = `${Math.floor(size / unit)} ${name}`;
    return seconds > 0 ? `in ${words}` : `${words} ago`;
  };

  const tick = () => {
    for (const time of document.querySelectorAll("time[data-relative]")) {
      const words = relative(Date.parse(time.dateTime));
      if (time.textContent !== words) time.textContent = words;
    }
  };
  setInterval(tick, 1000);

  const stale = (yes) => () => { document.getElementById("stale").hidden = !yes; };
  for (const event of ["sendError", "timeout", "responseError"]) {
    document.addEventListener(`htmx:${event}`, stale(true));
  }
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.status < 400) stale(false)();
  });
})();
