"use strict";
(() => {
  const root = document.documentElement, theme = document.getElementById("theme");
  const themes = ["automatic", "light", "dark"];
  theme.addEventListener("click", () => {
    const now = themes[(themes.indexOf(root.dataset.theme || "automatic") + 1) % themes.length];
    if (now === "automatic") delete root.dataset.theme; else root.dataset.theme = now;
    theme.textContent = `Theme: ${now}`;
  });
  document.getElementById("print").addEventListener("click", () => print());
  addEventListener("beforeprint", () =>
    document.querySelectorAll("img[loading]").forEach((img) => img.removeAttribute("loading")));

  const key = (row, column) => {
    const cell = row.cells[column], text = cell.dataset.value ?? cell.textContent.trim();
    const number = Number(text.replace("−", "-").replace(/%$/, ""));
    return text !== "" && !Number.isNaN(number) ? number : text;
  };
  const compare = (a, b) => {
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const before = heading.getAttribute("aria-sort");
        const down = before ? before === "ascending" : heading.textContent.includes("↑");
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0], rows = [...body.rows];
        rows.sort((a, b) => {
          const [first, second] = [key(a, column), key(b, column)];
          if (typeof first !== typeof second) return compare(first, second);
          return (down ? -1 : 1) * compare(first, second);
        });
        body.append(...rows);
      });
    });
  }

  const viewer = document.getElementById("viewer");
  const image = viewer.querySelector("img"), caption = viewer.querySelector("span");
  let shown = [], place = 0;
  const show = (next) => {
    place = (next + shown.length) % shown.length;
    const button = shown[place];
    image.src = button.querySelector("img").src;
    image.alt = button.querySelector("img").alt;
    caption.textContent = button.dataset.label;
  };
  for (const button of document.querySelectorAll(".picture")) {
    button.addEventListener("click", () => {
      shown = [...document.querySelectorAll(".picture")]
        .filter((other) => other.dataset.strip === button.dataset.strip);
      show(shown.indexOf(button));
      viewer.showModal();
    });
  }
  document.getElementById("previous").addEventListener("click", () => show(place - 1));
  document.getElementById("next").addEventListener("click", () => show(place + 1));
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(place - 1);
    if (event.key === "ArrowRight") show(place + 1);
  });
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
})();
