// Show alignments of one or more systems as columns of words, and copy them as lines of text.
// An alignment is a list of ["=", "correct words in a row"] and [operation, reference word, hypothesis word].

const CORRECT = "=", DELETION = "D", INSERTION = "I";
// More than this is shown after a click, as a line of a megabyte would block the page.
const MAX_COLUMNS = 300, MORE_COLUMNS = 3000, MAX_LETTERS = 200, MAX_SPOKEN = 2000;

function make(tag, content, kind) {
  const element = document.createElement(tag);
  if (content !== undefined) element.append(content);
  if (kind) element.className = kind;
  return element;
}

// Return for each reference word its hypothesis word, and the words inserted before it.
function positions(alignment) {
  const list = [{ before: [] }];
  const add = (reference, hypothesis, kind) => {
    Object.assign(list[list.length - 1], { reference, hypothesis, kind });
    list.push({ before: [] });
  };
  for (const [kind, reference, hypothesis] of alignment) {
    if (kind === CORRECT) for (const word of reference.split(" ")) add(word, word, kind);
    else if (kind === INSERTION) list[list.length - 1].before.push(hypothesis);
    else add(reference, hypothesis, kind);
  }
  return list;
}

// Return columns of {kinds, words}: the reference word, then the word of each system; "" if there is none.
function columns(alignments) {
  const systems = alignments.map(positions);
  const list = [];
  for (let index = 0; index < systems[0].length; index++) {
    const here = systems.map((system) => system[index]);
    const most = Math.max(...here.map((position) => position.before.length));
    for (let extra = 0; extra < most; extra++) {
      const words = here.map((position) => position.before[extra] ?? "");
      list.push({ kinds: words.map((word) => (word ? INSERTION : CORRECT)), words: ["", ...words] });
    }
    if (here[0].kind) {
      const words = here.map((position) => position.hypothesis);
      list.push({ kinds: here.map((position) => position.kind), words: [here[0].reference, ...words] });
    }
  }
  return list;
}

// Return the texts of the reference and of each system.
function texts(alignments) {
  const lines = alignments.map(() => []);
  const reference = [];
  alignments.forEach((alignment, system) => {
    for (const [kind, word, hypothesis] of alignment) {
      if (system === 0 && kind !== INSERTION) reference.push(word);
      if (kind !== DELETION) lines[system].push(kind === CORRECT ? word : hypothesis);
    }
  });
  return [reference, ...lines].map((words) => words.join(" "));
}

function cell(word, kind, whole, title) {
  const short = whole || word.length <= MAX_LETTERS ? word : word.slice(0, MAX_LETTERS) + "…";
  const element = make("span", short, kind === CORRECT ? "" : kind.toLowerCase());
  if (title) element.title = title;
  return element;
}

function columnElement(column, whole, title) {
  const kind = column.kinds.length === 1 ? column.kinds[0] : CORRECT;
  const element = make("span", undefined, kind === CORRECT ? "w" : `w ${kind.toLowerCase()}`);
  element.append(cell(column.words[0], CORRECT, whole, ""));
  column.kinds.forEach((one, index) => element.append(cell(column.words[index + 1], one, whole, title)));
  return element;
}

function labelElement(names) {
  const element = make("span", undefined, "w label");
  element.dir = "ltr";
  for (const name of names) element.append(make("span", name));
  return element;
}

// Return the columns as an element; `names` are of the lines, `titleOf` maps the index of a hypothesis word to its title.
function alignmentElement(alignments, names, titleOf) {
  const all = columns(alignments);
  const element = make("div", undefined, "align");
  element.dir = "auto";
  // A screen reader reads the lines, not column after column.
  element.setAttribute("role", "group");
  const lines = texts(alignments).map((line, index) => `${names[index]}: ${line.slice(0, MAX_SPOKEN)}`);
  element.setAttribute("aria-label", lines.join("; "));
  const rest = make("button");
  rest.type = "button";
  const fill = (until, whole) => {
    element.replaceChildren(labelElement(names), " ");
    let number = 0;
    for (const column of all.slice(0, until)) {
      const recognised = column.words[1] !== "";
      element.append(columnElement(column, whole, recognised ? titleOf(number) : ""), " ");
      number += recognised;
    }
    const long = all.slice(0, until).some((column) => column.words.some((word) => word.length > MAX_LETTERS));
    const more = Math.min(MORE_COLUMNS, all.length - until);
    if (more <= 0 && (whole || !long)) return;
    rest.textContent = more > 0 ? `Show ${more.toLocaleString("en")} more words` : "Show long words in full";
    rest.onclick = () => fill(until + MORE_COLUMNS, true);
    element.append(rest);
  };
  fill(MAX_COLUMNS, false);
  return element;
}

// Return an alignment element, or the selected part of one, as a line for the reference and for each system.
function asLines(element) {
  const lines = [];
  for (const column of element.querySelectorAll(":scope > .w")) {
    const words = [...column.children].map((one) => one.textContent);
    const wrong = [...column.children].map((one) => one.className !== "");
    wrong[0] = wrong.some(Boolean);
    const label = column.classList.contains("label");
    const size = Math.max(...words.map((word) => word.length));
    words.forEach((word, index) => {
      const padded = (word || "*".repeat(size)).padEnd(size);
      (lines[index] ??= []).push(label ? `${padded} ` : wrong[index] || !word ? `[${padded}]` : padded);
    });
  }
  // Brackets in one line shift the other lines too.
  for (let column = 0; column < (lines[0] ?? []).length; column++) {
    const size = Math.max(...lines.map((line) => line[column].length));
    for (const line of lines) line[column] = line[column].padEnd(size);
  }
  return lines.map((line) => line.join(" ").trimEnd()).join("\n");
}

function copiedText(range) {
  const column = (node) => (node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement)?.closest(".align > .w");
  const [first, last] = [column(range.startContainer), column(range.endContainer)];
  if (first && first === last) return null;
  if (first) range.setStartBefore(first);
  if (last) range.setEndAfter(last);
  const common = range.commonAncestorContainer;
  const holder = make("div", undefined, "copied");
  if (common.nodeType === Node.ELEMENT_NODE && common.matches(".align")) {
    holder.append(make("div", range.cloneContents(), "align"));
  } else holder.append(range.cloneContents());
  if (!holder.querySelector(".align")) return null;
  for (const one of holder.querySelectorAll("form, button, script, style, audio, .keys")) one.remove();
  for (const one of holder.querySelectorAll(".align")) one.replaceWith(make("pre", asLines(one)));
  document.body.append(holder);
  const text = holder.innerText;
  holder.remove();
  return text;
}

document.addEventListener("copy", (event) => {
  const selection = document.getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return;
  const text = copiedText(selection.getRangeAt(0).cloneRange());
  if (text === null) return;
  event.clipboardData.setData("text/plain", text);
  event.preventDefault();
});
