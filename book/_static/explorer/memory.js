// The memory explorer: two recorded runs of rarebook.memory.Memory, side by side.
(function (explorer) {
  "use strict";
  const { html, svg, percent } = explorer;
  const RULES = { oldest: "Oldest rule", aware: "Label-aware rule" };
  const LETTERS = [..."DCTARHMSFWB★"];
  const COLUMNS = 6, CELL = 30, GAP = 3;
  const PAUSES = { slow: 900, medium: 300, fast: 80 }; // milliseconds an event

  // State ---------------------------------------------------------------------------------------

  // The memory after `n` events: labels (-1: empty), ages, noise and how many slots a label holds.
  function memoryAt(record, rule, n) {
    const run = record.rules[rule];
    const labels = Array(record.n_slots).fill(-1);
    const touched = Array(record.n_slots).fill(0);
    const noise = Array(record.n_slots).fill(0);
    const counts = Array(record.labels.length).fill(0);
    let hits = 0;
    for (let i = 0; i < n; i++) {
      const slot = run.slots[i], label = record.y[i];
      touched[slot] = i + 1;
      hits += run.hits[i];
      if (!run.hits[i]) {
        if (labels[slot] >= 0) counts[labels[slot]] -= 1;
        counts[label] += 1;
        labels[slot] = label;
        noise[slot] = run.noise[i];
      }
    }
    return { labels, ages: touched.map((t) => n - t), noise, counts, hits };
  }

  // What the rule looks at: A + noise, or that times the share of the slots that the label holds.
  function scores(record, rule, memory) {
    return memory.labels.map((label, slot) => {
      const age = memory.ages[slot] + memory.noise[slot];
      if (label < 0) return 0;
      return rule === "oldest" ? age : (age * memory.counts[label]) / record.n_slots;
    });
  }

  const largest = (values) => values.indexOf(Math.max(...values));

  // The slot that the next write goes into.
  function next(record, rule, memory) {
    const empty = memory.labels.indexOf(-1);
    return empty >= 0 ? empty : largest(scores(record, rule, memory));
  }

  // The shares in the long run, where every event is a write: p^(1 / (1 + γ)) over their sum.
  function law(p, gamma) {
    const roots = p.map((value) => value ** (1 / (1 + gamma)));
    const sum = roots.reduce((a, b) => a + b);
    return roots.map((root) => root / sum);
  }

  // What event number n, counted from 1, did to one memory, in words.
  function account(record, rule, n) {
    const run = record.rules[rule], i = n - 1, label = record.y[i], slot = run.slots[i];
    const before = memoryAt(record, rule, i);
    if (run.hits[i]) return `Found in slot ${slot}, whose age, ${before.ages[slot]}, is 0 again.`;
    const nearest = run.nearest[i];
    const held = before.counts[label];
    const had = held ? `It had ${held} slot${held === 1 ? "" : "s"}, but` : "No slot had it;";
    const found = nearest < 0 ? "No slot had it." : `${had} the nearest was ${record.labels[before.labels[nearest]]}.`;
    const old = before.labels[slot];
    if (old < 0) return `${found} Written into empty slot ${slot}.`;
    const age = before.ages[slot];
    const why = rule === "oldest"
      ? `the oldest, age ${age}`
      : `the largest age × share, ${age} × ${before.counts[old]}/${record.n_slots}`;
    const last = before.counts[old] === 1 && old !== label ? ` That was the last slot of ${record.labels[old]}.` : "";
    return `${found} Gave up slot ${slot} of ${record.labels[old]}: ${why}.${last}`;
  }

  explorer.memory = { memoryAt, scores, next, law, account };

  // Drawing -------------------------------------------------------------------------------------

  const tile = (label) => html("span", { class: `ex-tile ex-label-${label}`, "aria-hidden": "true" }, LETTERS[label]);

  function grid(record, rule, onPick) {
    const rows = record.n_slots / COLUMNS, step = CELL + GAP;
    const root = svg("svg", {
      class: "ex-grid", role: "img", "data-rule": rule,
      viewBox: `-3 -3 ${COLUMNS * step + 3} ${rows * step + 3}`,
    });
    const cells = [];
    for (let slot = 0; slot < record.n_slots; slot++) {
      const x = (slot % COLUMNS) * step, y = Math.floor(slot / COLUMNS) * step;
      const parts = {
        box: svg("rect", { class: "ex-box", width: CELL, height: CELL - 6, rx: 3 }),
        letter: svg("text", { x: CELL / 2, y: 17, "text-anchor": "middle" }),
        track: svg("rect", { class: "ex-track", y: CELL - 4, width: CELL, height: 4, rx: 1 }),
        bar: svg("rect", { class: "ex-bar", y: CELL - 4, width: 0, height: 4, rx: 1 }),
        ring: svg("rect", { class: "ex-ring", x: -1.5, y: -1.5, width: CELL + 3, height: CELL + 3, rx: 4 }),
      };
      const group = svg("g", { transform: `translate(${x} ${y})`, onclick: () => onPick(slot) }, Object.values(parts));
      cells.push({ group, ...parts });
      root.append(group);
    }
    return { root, cells };
  }

  function showGrid(record, rule, n, view) {
    const memory = memoryAt(record, rule, n);
    const all = scores(record, rule, memory), top = Math.max(...all, 1e-9);
    const changed = n ? record.rules[rule].slots[n - 1] : -1;
    const hit = n && record.rules[rule].hits[n - 1];
    const due = next(record, rule, memory);
    view.cells.forEach((cell, slot) => {
      const label = memory.labels[slot];
      const state = slot === changed ? (hit ? " ex-hit" : " ex-written") : slot === due ? " ex-next" : "";
      cell.group.setAttribute("class", `ex-cell ex-label-${label < 0 ? "none" : label}${state}`);
      cell.letter.textContent = label < 0 ? "" : LETTERS[label];
      cell.bar.setAttribute("width", (CELL * all[slot]) / top);
    });
    const kinds = record.labels
      .map((name, label) => [memory.counts[label], name])
      .filter(([count]) => count)
      .map(([count, name]) => `${name} ${count}`);
    view.root.setAttribute("aria-label", `${RULES[rule]}, after ${n} events. Slots: ${kinds.join(", ") || "all empty"}.`);
    return { memory, all };
  }

  // One bar with the number of slots that a label holds, and a line where the law expects it.
  function shareBar(most) {
    const width = (count) => `${(100 * count) / most}%`;
    const bar = svg("rect", { class: "ex-bar", y: 4, height: 10 });
    const line = svg("line", { class: "ex-law", y1: 0, y2: 18 });
    const dot = svg("circle", { class: "ex-mean", cy: 9, r: 3.5 });
    const picture = svg("svg", { class: "ex-share", height: 18, "aria-hidden": "true" }, [bar, line, dot]);
    const number = html("span", { class: "ex-count" });
    const hidden = html("span", { class: "ex-hidden" });
    return {
      nodes: [html("span", { class: "ex-share-row" }, [number, picture]), hidden],
      set(count, expected, mean) {
        bar.setAttribute("width", width(count));
        line.setAttribute("x1", width(expected));
        line.setAttribute("x2", width(expected));
        dot.setAttribute("cx", width(mean));
        number.textContent = count;
        hidden.textContent = ` slots; law ${expected.toFixed(1)}, mean ${mean.toFixed(1)}`;
      },
    };
  }

  function shareTable(record) {
    const expected = {
      oldest: law(record.p, 0).map((share) => share * record.n_slots),
      aware: law(record.p, 1).map((share) => share * record.n_slots),
    };
    const most = 1.1 * Math.max(...expected.oldest);
    const bars = record.labels.map(() => ({ oldest: shareBar(most), aware: shareBar(most) }));
    const rows = record.labels.map((name, label) => html("tr", {}, [
      html("th", { scope: "row" }, [tile(label), ` ${name}`]),
      html("td", { class: "ex-number" }, percent(record.p[label])),
      html("td", {}, bars[label].oldest.nodes),
      html("td", {}, bars[label].aware.nodes),
    ]));
    const heads = ["Label", "of events", "Slots, oldest rule", "Slots, label-aware rule"];
    const table = html("table", { class: "ex-shares" }, [
      html("caption", {}, `Slots that each label holds now. Line: what the law of shares expects. Dot: the mean at the end of ${record.n_seeds} streams.`),
      html("thead", {}, html("tr", {}, heads.map((head) => html("th", { scope: "col" }, head)))),
      html("tbody", {}, rows),
    ]);
    const show = (rule, memory) => memory.counts.forEach((count, label) =>
      bars[label][rule].set(count, expected[rule][label], record.rules[rule].over_seeds.slots[label]));
    return { table, show };
  }

  // When Christmas had a slot, a lane for each rule; the whole story on a line.
  function lanes(record) {
    const n = record.y.length, christmas = record.labels.indexOf("Christmas");
    const root = svg("svg", { class: "ex-lanes", viewBox: `0 0 ${n} 44`, preserveAspectRatio: "none", "aria-hidden": "true" });
    Object.keys(RULES).forEach((rule, row) => {
      root.append(svg("rect", { class: "ex-track", y: 2 + 22 * row, width: n, height: 18 }));
      let since = null;
      for (let i = 0; i <= n; i++) {
        const there = i < n && memoryAt(record, rule, i + 1).counts[christmas] > 0;
        if (there && since === null) since = i;
        if (!there && since !== null) {
          root.append(svg("rect", { class: "ex-lane", x: since, y: 2 + 22 * row, width: i - since, height: 18 }));
          since = null;
        }
      }
    });
    const hand = svg("line", { class: "ex-hand", y1: 0, y2: 44 });
    root.append(hand);
    return { root, show: (at) => { hand.setAttribute("x1", at); hand.setAttribute("x2", at); } };
  }

  // Slots as a table, for reading; filled only while it is open.
  function slotTable(record) {
    const body = html("tbody");
    const heads = ["Slot", "Oldest rule: label", "age", "Label-aware rule: label", "age", "age × share"];
    const table = html("div", { class: "ex-scroll", tabindex: "0", role: "region", "aria-label": "All slots" }, html("table", {}, [
      html("thead", {}, html("tr", {}, heads.map((head) => html("th", { scope: "col" }, head)))),
      body,
    ]));
    const details = html("details", { class: "ex-slots" }, [html("summary", {}, "All slots as a table"), table]);
    return {
      details,
      show(states) {
        if (!details.open) return;
        const name = (label) => (label < 0 ? "empty" : record.labels[label]);
        body.replaceChildren(...Array.from({ length: record.n_slots }, (_, slot) => html("tr", {}, [
          html("th", { scope: "row" }, String(slot)),
          ...[
            name(states.oldest.memory.labels[slot]), states.oldest.memory.ages[slot],
            name(states.aware.memory.labels[slot]), states.aware.memory.ages[slot],
            states.aware.all[slot].toFixed(1),
          ].map((value) => html("td", {}, String(value))),
        ])));
      },
    };
  }

  // The page's part -----------------------------------------------------------------------------

  function start(host, record) {
    const n = record.y.length;
    const christmas = record.labels.indexOf("Christmas");
    const state = { at: record.y.indexOf(christmas, record.year) + 1, timer: null, picked: {} };
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

    const range = html("input", { type: "range", id: "ex-event", min: 0, max: n, value: 0, "aria-label": "Event" });
    const play = html("button", { type: "button", class: "ex-play" }, "Play");
    const button = (text, name, action) => html("button", { type: "button", "aria-label": name, title: name, onclick: action }, text);
    const pace = html("select", { "aria-label": "Speed" }, Object.keys(PAUSES).map((name) =>
      html("option", { value: name, selected: name === (still ? "slow" : "medium") }, name)));
    const headline = html("p", { class: "ex-event" });
    const live = html("p", { class: "ex-hidden", role: "status", "aria-live": "polite" });
    const views = {}, sides = [];
    for (const rule of Object.keys(RULES)) {
      const picked = html("p", { class: "ex-picked" });
      const text = html("p", { class: "ex-account" });
      const found = html("p", { class: "ex-found" });
      views[rule] = { ...grid(record, rule, (slot) => { state.picked[rule] = slot; show(false); }), picked, text, found };
      sides.push(html("section", { class: "ex-side", "aria-label": RULES[rule] }, [
        html("h3", {}, RULES[rule]),
        html("p", { class: "ex-formula" }, rule === "oldest" ? "gives up the largest age" : "gives up the largest age × share"),
        views[rule].root, found, text, picked,
      ]));
    }
    const shares = shareTable(record), story = lanes(record), slots = slotTable(record);
    slots.details.addEventListener("toggle", () => show(false));

    function describe(at) {
      if (!at) return "Both memories are empty. Press Play, or step through the events.";
      return `Event ${at} of ${n}: ${record.labels[record.y[at - 1]]}`;
    }

    function show(announce) {
      const states = {};
      for (const [rule, view] of Object.entries(views)) {
        const { memory, all } = (states[rule] = showGrid(record, rule, state.at, view));
        view.text.textContent = state.at ? account(record, rule, state.at) : "";
        view.found.textContent = state.at ? `Found so far: ${percent(memory.hits / state.at)} of the events.` : "";
        shares.show(rule, memory);
        const slot = state.picked[rule] ?? -1, label = slot < 0 ? -1 : memory.labels[slot];
        view.picked.textContent = slot < 0 ? "" : label < 0 ? `Slot ${slot} is empty.` :
          `Slot ${slot}: ${record.labels[label]}, age ${memory.ages[slot]}, label holds ` +
          `${memory.counts[label]} of ${record.n_slots}; age × share = ` +
          `${((memory.ages[slot] * memory.counts[label]) / record.n_slots).toFixed(1)}.`;
        view.cells.forEach((cell, i) => cell.group.classList.toggle("ex-picked-cell", i === slot));
      }
      slots.show(states);
      story.show(state.at);
      headline.replaceChildren(...(state.at ? [tile(record.y[state.at - 1]), ` ${describe(state.at)}`] : [describe(0)]));
      range.value = state.at;
      range.setAttribute("aria-valuetext", describe(state.at));
      const isChristmas = state.at && record.y[state.at - 1] === christmas;
      if (announce === true || (state.timer && isChristmas)) {
        live.textContent = state.at
          ? [describe(state.at) + ".", ...Object.keys(RULES).map((rule) => `${RULES[rule]}: ${account(record, rule, state.at)}`)].join(" ")
          : describe(0);
      }
    }

    function go(at) {
      state.at = Math.max(0, Math.min(n, at));
      show(!state.timer);
    }

    function stop() {
      clearTimeout(state.timer);
      state.timer = null;
      play.textContent = "Play";
    }

    function pause() {
      stop();
      show(true);
    }

    function tick() {
      if (state.at >= n) return pause();
      state.timer = setTimeout(tick, PAUSES[pace.value]);
      go(state.at + 1);
    }

    function toggle() {
      if (state.timer) return pause();
      if (state.at >= n) state.at = 0;
      play.textContent = "Pause";
      tick();
    }

    // The next event that is Christmas, or the end.
    function jump() {
      const found = record.y.indexOf(christmas, state.at);
      stop();
      go(found < 0 ? n : found + 1);
    }

    play.addEventListener("click", toggle);
    range.addEventListener("input", () => {
      stop();
      state.at = Number(range.value);
      show(false);
    });
    range.addEventListener("change", () => show(true));
    const controls = html("div", { class: "ex-controls", role: "group", "aria-label": "Playing" }, [
      play,
      button("◀", "One event back", () => { stop(); go(state.at - 1); }),
      button("▶", "One event on", () => { stop(); go(state.at + 1); }),
      button("★", "To the next Christmas", jump),
      pace,
    ]);

    const KEYS = { ArrowRight: () => state.at + 1, ArrowLeft: () => state.at - 1, Home: () => 0, End: () => n };
    host.addEventListener("keydown", (event) => {
      const kind = event.target.tagName;
      if (kind === "SELECT" || event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.target.closest(".ex-scroll")) return; // the table scrolls
      if (event.key === " " && kind !== "BUTTON" && kind !== "SUMMARY") toggle();
      else if (event.key in KEYS) {
        stop();
        go(KEYS[event.key]());
      }
      else return;
      event.preventDefault();
    });

    const laneNames = html("div", { class: "ex-lane-names", "aria-hidden": "true" }, [html("span", {}, "oldest"), html("span", {}, "label-aware")]);
    host.replaceChildren(
      controls,
      html("div", { class: "ex-story" }, [laneNames, html("div", {}, [story.root, range])]),
      html("p", { class: "ex-note" }, "Orange: Christmas has a slot. Keys: space plays, the arrows step, Home and End jump."),
      headline, live,
      html("div", { class: "ex-sides" }, sides),
      html("p", { class: "ex-note" }, "A letter is a label, the darker the more frequent. The bar below it is what the rule looks at; the longest goes next. Solid ring: just written. Dotted ring: just found. Dashed, orange: next to go. Tap a slot to read it."),
      shares.table, slots.details,
    );
    show(false);
    explorer.memory.go = go;
  }

  explorer.memory.start = start;
})(window.explorer);
