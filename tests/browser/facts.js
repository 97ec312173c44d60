// What tests/browser/test_pages.py asks of an open page.
(() => {
  const name = (node) => {
    const classes = [...node.classList].map((each) => "." + each).join("");
    return node.tagName.toLowerCase() + (node.id ? "#" + node.id : "") + classes;
  };

  // What is wrong with the first stop of the Tab key.
  const focus = () => {
    const node = document.activeElement, { top, bottom } = node.getBoundingClientRect();
    const { outlineStyle, outlineWidth } = getComputedStyle(node);
    if (node.getAttribute("href") !== "#main-content") return [name(node)];
    const seen = outlineStyle !== "none" && parseFloat(outlineWidth) >= 1;
    return seen && top >= 0 && bottom <= innerHeight ? [] : ["not seen"];
  };

  const broken = () => [...document.images].filter((i) => !i.naturalWidth).map((i) => i.src);

  // Files that are drawn: those of the page's images.
  const pictures = () => [...new Set([...document.images].map((i) => i.currentSrc))];

  const links = () => [...document.querySelectorAll("a[href]")].map((a) => a.href);

  const unfold = async () => {
    document.querySelectorAll("details").forEach((node) => (node.open = true));
    document.querySelectorAll(".toggle-button-hidden").forEach((node) => node.click());
    await new Promise((done) => setTimeout(done, 50)); // the page answers an opened fold
  };

  // What makes the page wider than its window; what scrolls or is cut inside a box does not.
  const wide = () => {
    const edge = document.documentElement.clientWidth;
    if (document.scrollingElement.scrollWidth <= edge) return [];
    const past = (node) => node.getBoundingClientRect().right > edge + 1;
    const nodes = [...document.body.querySelectorAll("*")].filter((node) => {
      if (!past(node) || [...node.children].some(past)) return false;
      for (let box = node.parentElement; box !== document.body; box = box.parentElement) {
        if (getComputedStyle(box).overflowX !== "visible") return false;
      }
      return true;
    });
    return nodes.length ? nodes.map(name) : ["nobody knows what"];
  };

  const undrawn = () => [
    ...[...document.querySelectorAll(".math")].filter((m) => !m.querySelector("mjx-container")),
    ...document.querySelectorAll("mjx-container:has([data-mml-node=merror])"),
  ].map((node) => node.textContent.trim() || name(node));

  // Thousands of spans of code and the paths of formulas cost axe minutes: of each kind one stays.
  const thin = () => {
    const seen = new Set(), spare = [];
    for (const span of document.querySelectorAll("pre span, .sig span, code span")) {
      const block = span.closest(".cell_input, .cell_output, .sig, pre, code");
      const kind = [span.className, block.className, block.parentElement.className].join("|");
      if (seen.has(kind)) spare.push(span);
      else if (span.textContent.length > 1) seen.add(kind); // axe passes over single letters
    }
    spare.forEach((span) => span.replaceWith(...span.childNodes));
    document.querySelectorAll("mjx-container").forEach((node) => node.replaceChildren());
    document.body.normalize();
  };

  // Of the texts that are seen, three of each colour, size, weight and ground.
  const kindsOfText = () => {
    const grounds = new Map([[null, ""]]);
    const ground = (node) => {
      if (!grounds.has(node)) {
        const { backgroundColor, backgroundImage, opacity } = getComputedStyle(node);
        const own = [backgroundColor, backgroundImage, opacity].join();
        const below = ground(node.parentElement);
        grounds.set(node, own === "rgba(0, 0, 0, 0),none,1" ? below : below + own);
      }
      return grounds.get(node);
    };
    const kinds = new Map();
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const node = texts.currentNode.parentElement;
      if (texts.currentNode.data.trim().length < 2) continue;
      if (!node.checkVisibility({ visibilityProperty: true })) continue;
      const { color, fontSize, fontWeight } = getComputedStyle(node);
      const kind = [color, fontSize, fontWeight, ground(node)].join();
      kinds.set(kind, [...(kinds.get(kind) || []), node].slice(0, 3));
    }
    return [...kinds.values()].flat();
  };

  const violations = async (nodes, options) => {
    // Without preload axe fetches nothing itself.
    const all = { preload: false, resultTypes: ["violations"], ...options };
    const found = await axe.run(nodes, all);
    return found.violations.flatMap((rule) =>
      rule.nodes.map((node) => `${rule.id}: ${node.target.join(" ")}`));
  };

  const structure = () =>
    violations(document, { rules: { "color-contrast": { enabled: false } } });

  const contrast = () => violations({ include: kindsOfText() }, { runOnly: ["color-contrast"] });

  window.facts = { focus, broken, pictures, links, unfold, wide, undrawn, thin, structure, contrast };
})();
