// Every part of the page that is there gets its explorer; until then it shows a text or a picture.
(function (explorer) {
  "use strict";
  const { memory, simplex, beliefs } = explorer;
  const starts = {
    "ex-memory": (host) => memory.start(host, window.RECORDS.memory),
    "ex-simplex": (host) => simplex.start(host),
    "ex-beliefs": (host) => beliefs.start(host, window.RECORDS.beliefs),
  };
  for (const [id, start] of Object.entries(starts)) {
    const host = document.getElementById(id);
    if (host) start(host);
  }
})(window.explorer);
