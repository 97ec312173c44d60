// Smoothing and the penalty on confidence over three classes; the formulas of chapter 10.
(function (explorer) {
  "use strict";
  const { html, svg, slider } = explorer;
  const CLASSES = 3, LEVELS = 10, RAYS = 180, SAMPLE = 30;
  const CORNERS = [[150, 24], [24, 242], [276, 242]]; // A, B, C

  const xlogx = (p) => (p > 0 ? p * Math.log(p) : 0);
  const entropy = (p) => -p.reduce((sum, value) => sum + xlogx(value), 0);
  const smoothed = (epsilon) => [0, 1, 2].map((c) => (c === 0 ? 1 - epsilon : 0) + epsilon / CLASSES);

  // -Σ y′ log p - β H(p) for label A, a vector p of three probabilities.
  function loss(p, epsilon, beta) {
    const target = smoothed(epsilon);
    const cross = target.reduce((sum, y, c) => sum - (y > 0 ? y * Math.log(p[c]) : 0), 0);
    return cross - beta * entropy(p);
  }

  // Its slope along p = (a, (1 - a) / 2, (1 - a) / 2); the loss is convex, so it has one zero.
  function slope(a, epsilon, beta) {
    const right = smoothed(epsilon)[0];
    return (1 - right) / (1 - a) - right / a + beta * Math.log((2 * a) / (1 - a));
  }

  // The probability of A at which the loss is lowest: halve the interval again and again.
  function lowest(epsilon, beta) {
    if (epsilon === 0 && beta === 0) return 1;
    let low = 1 / CLASSES, high = 1 - 1e-12;
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (slope(middle, epsilon, beta) < 0) low = middle;
      else high = middle;
    }
    return low;
  }

  // The β whose loss is lowest where smoothing by ε stops.
  function betaFor(epsilon) {
    const a = smoothed(epsilon)[0];
    return 1 / (a * Math.log((a * (CLASSES - 1)) / (1 - a)));
  }

  const share = (a) => [a, (1 - a) / 2, (1 - a) / 2];
  const place = (p) => [0, 1].map((axis) => p.reduce((sum, value, c) => sum + value * CORNERS[c][axis], 0));

  explorer.simplex = { loss, lowest, betaFor, entropy };

  // Levels that cut the triangle into parts of equal size.
  function bounds(epsilon, beta) {
    const values = [];
    for (let i = 1; i < SAMPLE; i++) {
      for (let j = 1; i + j < SAMPLE; j++) {
        values.push(loss([i / SAMPLE, j / SAMPLE, (SAMPLE - i - j) / SAMPLE], epsilon, beta));
      }
    }
    values.sort((one, other) => one - other);
    return Array.from({ length: LEVELS - 1 }, (_, i) => values[Math.floor(((i + 1) * values.length) / LEVELS)]);
  }

  // The points where the loss is `level`: as it is convex, one on each ray from its lowest point.
  function contour(level, epsilon, beta) {
    const start = share(Math.min(lowest(epsilon, beta), 0.999));
    return Array.from({ length: RAYS }, (_, ray) => {
      const angle = (2 * Math.PI * ray) / RAYS, side = Math.sin(angle) * Math.sqrt(0.75);
      const ahead = [Math.cos(angle), -Math.cos(angle) / 2 + side, -Math.cos(angle) / 2 - side];
      const at = (t) => start.map((value, c) => value + t * ahead[c]);
      const edge = Math.min(...start.map((value, c) => (ahead[c] < 0 ? -value / ahead[c] : Infinity)));
      let low = 0, high = edge * (1 - 1e-9);
      if (loss(at(high), epsilon, beta) < level) return at(high);
      for (let i = 0; i < 20; i++) {
        const middle = (low + high) / 2;
        if (loss(at(middle), epsilon, beta) < level) low = middle;
        else high = middle;
      }
      return at(low);
    });
  }

  function start(host) {
    const root = svg("svg", { class: "ex-simplex", role: "img", viewBox: "0 0 300 270" });
    const outline = `M${CORNERS.join("L")}Z`;
    root.append(svg("path", { class: "ex-highest", d: outline }));
    const levels = Array.from({ length: LEVELS - 1 }, () => root.appendChild(svg("path", { class: "ex-level" })));
    root.append(svg("path", { class: "ex-outline", d: outline }));
    [["A", 150, 16], ["B", 12, 252], ["C", 288, 252]].forEach(([name, x, y]) =>
      root.append(svg("text", { x, y, "text-anchor": "middle" }, name)));
    const marks = {
      smoothing: svg("path", { class: "ex-mark", d: "M0 -7L7 0L0 7L-7 0Z" }),
      penalty: svg("rect", { class: "ex-mark", x: -5.5, y: -5.5, width: 11, height: 11 }),
      both: svg("circle", { class: "ex-mark ex-both", r: 6.5 }),
    };
    root.append(...Object.values(marks));

    const names = { smoothing: "◆ ε alone", penalty: "■ β alone", both: "● both" };
    const cells = {}, body = html("tbody");
    for (const [key, name] of Object.entries(names)) {
      cells[key] = ["p", "other", "loss", "entropy"].map(() => html("td", { class: "ex-number" }));
      body.append(html("tr", {}, [html("th", { scope: "row" }, name), ...cells[key]]));
    }
    const heads = ["Lowest for", "p* of A", "of B, C", "loss", "entropy"];
    const table = html("table", { class: "ex-table" }, [
      html("thead", {}, html("tr", {}, heads.map((head) => html("th", { scope: "col" }, head)))), body,
    ]);
    const text = html("p", { class: "ex-account", role: "status", "aria-live": "polite" });
    const epsilon = slider("ex-epsilon", "smoothing ε", { min: 0, max: 0.9, step: 0.01, value: 0.3 }, show);
    const beta = slider("ex-beta", "penalty β", { min: 0, max: 2, step: 0.01, value: 0.5 }, show);

    function show() {
      const e = Number(epsilon.input.value), b = Number(beta.input.value);
      bounds(e, b).reverse().forEach((level, i) => {
        const points = contour(level, e, b).map((p) => place(p).map((v) => v.toFixed(1)).join(" "));
        levels[i].setAttribute("d", `M${points.join("L")}Z`);
      });
      const settings = { smoothing: [e, 0], penalty: [0, b], both: [e, b] };
      const stops = {};
      for (const [key, [eps, bet]] of Object.entries(settings)) {
        const a = (stops[key] = lowest(eps, bet)), p = share(a);
        const [x, y] = place(p);
        marks[key].setAttribute("transform", `translate(${x} ${y})`);
        [a, p[1], loss(p, eps, bet), entropy(p)].forEach((value, i) => {
          cells[key][i].textContent = (Math.abs(value) < 5e-4 ? 0 : value).toFixed(3).replace("-", "−");
        });
      }
      const same = e > 0 ? ` The β that stops where this ε does is ${betaFor(e).toFixed(2)}.` : "";
      text.textContent = `A row whose training loss is as low as it can be gives A ${stops.both.toFixed(3)}.${same}`;
      root.setAttribute("aria-label", `Triangle of the predictions for three classes; the corner A is a sure A. ` +
        `The loss of label A is lowest at ${stops.both.toFixed(3)} for A, on the line from the middle to A.`);
    }

    host.replaceChildren(html("div", { class: "ex-two" }, [
      html("div", {}, [root, html("p", { class: "ex-note" }, "The fainter, the lower the loss of label A.")]),
      html("div", {}, [epsilon.row, beta.row, table, text]),
    ]));
    show();
  }

  explorer.simplex.start = start;
})(window.explorer);
