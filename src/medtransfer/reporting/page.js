// Tables are sorted by a click on the head of a column: numbers by value, texts by letters, empty cells last.
for (const head of document.querySelectorAll("table:not(.maps) thead tr:last-child th")) {
  const button = document.createElement("button");
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending";
    const key = (row) => {
      const text = row.cells[head.cellIndex]?.querySelector("span")?.textContent.trim() ?? "";
      const value = parseFloat(text.replace("\u2212", "-").replace("< ", ""));
      return head.classList.contains("number") ? value : text;
    };
    const missing = (value) => value === "" || Number.isNaN(value);
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      return (up ? 1 : -1) * (typeof a === "number" ? a - b : a.localeCompare(b));
    });
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...rows.map(([, row]) => row));
    for (const row of body.rows) row.classList.remove("new");
  });
}
// In a gallery one slider sets how much all overlays cover their images; without a script they cover them wholly.
const slider = document.querySelector("#opacity");
if (slider) {
  const [input, output] = [slider.querySelector("input"), slider.querySelector("output")];
  const show = () => {
    document.documentElement.style.setProperty("--heat", input.value / 100);
    output.value = `${input.value} %`;
  };
  input.addEventListener("input", show);
  slider.hidden = false;
  show();
}
