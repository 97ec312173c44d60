// What the three explorers share: making elements and reading numbers.
window.explorer = {};

(function (explorer) {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) {
        node.setAttribute(name, value === true ? "" : value);
      }
    }
    node.append(...[children === undefined ? [] : children].flat());
    return node;
  }

  // html("p", { class: "x" }, ["text", node]); svg likewise
  explorer.html = (tag, attributes, children) =>
    fill(document.createElement(tag), attributes, children);
  explorer.svg = (tag, attributes, children) =>
    fill(document.createElementNS(SVG, tag), attributes, children);

  // A range with its name, its value shown behind it; returns the row and the input.
  explorer.slider = function (id, name, attributes, onInput) {
    const input = explorer.html("input", { id, type: "range", ...attributes });
    const shown = explorer.html("output", { for: id });
    const show = () => {
      shown.value = Number(input.value).toFixed(2);
      onInput();
    };
    input.addEventListener("input", show);
    const label = explorer.html("label", { for: id }, name);
    shown.value = Number(input.value).toFixed(2);
    return { row: explorer.html("div", { class: "ex-slider" }, [label, input, shown]), input };
  };

  explorer.percent = (value) => `${Math.round(100 * value)}%`;
})(window.explorer);
