// What a trained feedback network believes of a film after each of its three steps, as recorded.
(function (explorer) {
  "use strict";
  const { html, svg } = explorer;
  const LEVELS = ["genre", "subgenre", "theme"];

  const best = (values) => values.indexOf(Math.max(...values));

  // What is believed most on each level after a step, in words.
  function account(film, step) {
    const parts = film.levels.map((level, i) => {
      const values = level.steps[step], top = best(values);
      const verdict = top === level.right ? "right" : `in fact ${level.labels[level.right]}`;
      return `${LEVELS[i]} ${level.labels[top]}, ${values[top].toFixed(2)} (${verdict})`;
    });
    return `${film.film}, step ${step + 1}: ${parts.join("; ")}.`;
  }

  explorer.beliefs = { account };

  function start(host, films) {
    const state = { film: 0, step: 0 };
    const choice = html("select", { id: "ex-film" }, films.map((film, i) => html("option", { value: i }, film.film)));
    const steps = [0, 1, 2].map((step) =>
      html("button", { type: "button", onclick: () => go(step) }, `Step ${step + 1}`));
    const words = html("p", { class: "ex-note" });
    const panels = html("div", { class: "ex-levels" });
    const text = html("p", { class: "ex-account", role: "status", "aria-live": "polite" });

    function row(level, label) {
      const value = level.steps[state.step][label], right = label === level.right;
      const before = state.step ? level.steps[state.step - 1][label] : null;
      const parts = [svg("rect", { class: "ex-bar", y: 2, width: `${100 * value}%`, height: 10 })];
      if (before !== null) parts.push(svg("line", { class: "ex-law", x1: `${100 * before}%`, x2: `${100 * before}%`, y1: 0, y2: 14 }));
      return html("tr", { class: right ? "ex-right" : null }, [
        html("th", { scope: "row" }, [level.labels[label], right ? " ✓" : ""]),
        html("td", { class: "ex-number" }, value.toFixed(2)),
        html("td", { class: "ex-wide" }, svg("svg", { class: "ex-share", height: 14, "aria-hidden": "true" }, parts)),
      ]);
    }

    function show() {
      const film = films[state.film];
      words.textContent = `What the network is told: ${film.keywords.join(", ")}.`;
      steps.forEach((button, i) => button.setAttribute("aria-pressed", i === state.step));
      panels.replaceChildren(...film.levels.map((level, i) => html("table", { class: "ex-table" }, [
        html("caption", {}, `${LEVELS[i]}, meant to be read after step ${i + 1}`),
        html("tbody", {}, level.labels.map((_, label) => row(level, label))),
      ])));
      text.textContent = account(film, state.step);
    }

    function go(step) {
      state.step = Math.max(0, Math.min(2, step));
      show();
    }

    const KEYS = { ArrowRight: () => state.step + 1, ArrowLeft: () => state.step - 1, Home: () => 0, End: () => 2 };
    const bar = html("div", { class: "ex-controls", role: "group", "aria-label": "Steps" }, steps);
    bar.addEventListener("keydown", (event) => {
      if (!(event.key in KEYS)) return;
      go(KEYS[event.key]());
      steps[state.step].focus();
      event.preventDefault();
    });
    choice.addEventListener("change", () => {
      state.film = Number(choice.value);
      go(0);
    });
    host.replaceChildren(
      html("div", { class: "ex-controls" }, [html("label", { for: "ex-film" }, "Film"), choice]),
      words, bar, panels,
      html("p", { class: "ex-note" }, "✓: the right label. Line: the belief one step before."),
      text,
    );
    show();
  }

  explorer.beliefs.start = start;
})(window.explorer);
