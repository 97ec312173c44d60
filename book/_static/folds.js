// The theme gives the Tab key a stop at code that scrolls, but only where it is seen at once.
{
  const stops = (event) => {
    for (const code of event.target.closest("details, .dropdown")?.querySelectorAll("pre") ?? []) {
      code.tabIndex = code.scrollWidth > code.clientWidth ? 0 : -1;
    }
  };
  document.addEventListener("click", stops);
  document.addEventListener("toggle", stops, { capture: true });
}
