// Sort a table by the column whose name is clicked; a second click reverses the order.

function keyOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
}

function sortTable(head) {
  const table = head.closest("table");
  const body = table.tBodies[0];
  const numeric = head.classList.contains("number") || head.classList.contains("wide");
  const before = head.getAttribute("aria-sort");
  const down = before ? before === "ascending" : numeric;
  for (const one of table.querySelectorAll("th[aria-sort]")) one.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const compare = (one, two) => {
    const [first, second] = [keyOf(one, head.cellIndex), keyOf(two, head.cellIndex)];
    return typeof first === "number" && typeof second === "number" ? first - second : collator.compare(first, second);
  };
  body.append(...[...body.rows].sort((one, two) => (down ? compare(two, one) : compare(one, two))));
}

for (const button of document.querySelectorAll("th > button")) {
  button.addEventListener("click", () => sortTable(button.parentElement));
}
