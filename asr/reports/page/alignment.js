// Alignments of one or more systems -> columns, word under word, and back to lines of text when they are copied.
// An alignment is a list of ["=", "correct words in a row"] and [operation, reference word, hypothesis word].

const CORRECT = "=", DELETION = "D", INSERTION = "I";
// Longer ones wait for a click: a line of a megabyte would stop the page.
const MOST_COLUMNS = 300, MORE_COLUMNS = 3000, MOST_LETTERS = 200, MOST_SPOKEN = 2000;

function make(tag, content, kind) {
  const made = document.createElement(tag);
  if (content !== undefined) made.append(content);
  if (kind) made.className = kind;
  return made;
}

// Returns, for each place in the reference, what was heard for it and what was put in before it.
function places(alignment) {
  const found = [{ before: [] }];
  const heard = (reference, hypothesis, kind) => {
    Object.assign(found[found.length - 1], { reference, hypothesis, kind });
    found.push({ before: [] });
  };
  for (const [kind, reference, hypothesis] of alignment) {
    if (kind === CORRECT) for (const word of reference.split(" ")) heard(word, word, kind);
    else if (kind === INSERTION) found[found.length - 1].before.push(hypothesis);
    else heard(reference, hypothesis, kind);
  }
  return found;
}

// Returns columns of {kinds, words}: the reference's word first, then each system's; "" where there is none.
function columns(alignments) {
  const systems = alignments.map(places);
  const found = [];
  for (let index = 0; index < systems[0].length; index++) {
    const here = systems.map((system) => system[index]);
    const most = Math.max(...here.map((place) => place.before.length));
    for (let extra = 0; extra < most; extra++) {
      const words = here.map((place) => place.before[extra] ?? "");
      found.push({ kinds: words.map((word) => (word ? INSERTION : CORRECT)), words: ["", ...words] });
    }
    if (here[0].kind) {
      const words = here.map((place) => place.hypothesis);
      found.push({ kinds: here.map((place) => place.kind), words: [here[0].reference, ...words] });
    }
  }
  return found;
}

// Returns the texts of the reference and of each system.
function texts(alignments) {
  const lines = alignments.map(() => []);
  const reference = [];
  alignments.forEach((alignment, system) => {
    for (const [kind, said, heard] of alignment) {
      if (system === 0 && kind !== INSERTION) reference.push(said);
      if (kind !== DELETION) lines[system].push(kind === CORRECT ? said : heard);
    }
  });
  return [reference, ...lines].map((words) => words.join(" "));
}

function cell(word, kind, whole, told) {
  const short = whole || word.length <= MOST_LETTERS ? word : word.slice(0, MOST_LETTERS) + "…";
  const made = make("span", short, kind === CORRECT ? "" : kind.toLowerCase());
  if (told) made.title = told;
  return made;
}

function columnElement(column, whole, told) {
  const kind = column.kinds.length === 1 ? column.kinds[0] : CORRECT;
  const made = make("span", undefined, kind === CORRECT ? "w" : `w ${kind.toLowerCase()}`);
  made.append(cell(column.words[0], CORRECT, whole, ""));
  column.kinds.forEach((one, index) => made.append(cell(column.words[index + 1], one, whole, told)));
  return made;
}

function labelElement(names) {
  const made = make("span", undefined, "w label");
  made.dir = "ltr";
  for (const name of names) made.append(make("span", name));
  return made;
}

// Returns the columns as an element; `names`: of the lines; `told`: of a hypothesis' word, by its number.
function alignmentElement(alignments, names, told) {
  const all = columns(alignments);
  const made = make("div", undefined, "align");
  made.dir = "auto";
  // Read aloud, words under words are not understood.
  made.setAttribute("role", "group");
  const lines = texts(alignments).map((line, index) => `${names[index]}: ${line.slice(0, MOST_SPOKEN)}`);
  made.setAttribute("aria-label", lines.join("; "));
  const rest = make("button");
  rest.type = "button";
  const fill = (until, whole) => {
    made.replaceChildren(labelElement(names), " ");
    let number = 0;
    for (const column of all.slice(0, until)) {
      const heard = column.words[1] !== "";
      made.append(columnElement(column, whole, heard ? told(number) : ""), " ");
      number += heard;
    }
    const long = all.slice(0, until).some((column) => column.words.some((word) => word.length > MOST_LETTERS));
    const more = Math.min(MORE_COLUMNS, all.length - until);
    if (more <= 0 && (whole || !long)) return;
    rest.textContent = more > 0 ? `Show ${more.toLocaleString("en")} more words` : "Show the whole words";
    rest.onclick = () => fill(until + MORE_COLUMNS, true);
    made.append(rest);
  };
  fill(MOST_COLUMNS, false);
  return made;
}

// Returns an alignment element, or what of one was selected, as a line for the reference and for each system.
function asLines(element) {
  const lines = [];
  for (const column of element.querySelectorAll(":scope > .w")) {
    const words = [...column.children].map((one) => one.textContent);
    const wrong = [...column.children].map((one) => one.className !== "");
    wrong[0] = wrong.some(Boolean);
    const label = column.classList.contains("label");
    const size = Math.max(...words.map((word) => word.length));
    words.forEach((word, index) => {
      const written = (word || "*".repeat(size)).padEnd(size);
      (lines[index] ??= []).push(label ? `${written} ` : wrong[index] || !word ? `[${written}]` : written);
    });
  }
  // A bracket of one line moves the others on, too.
  for (let column = 0; column < (lines[0] ?? []).length; column++) {
    const size = Math.max(...lines.map((line) => line[column].length));
    for (const line of lines) line[column] = line[column].padEnd(size);
  }
  return lines.map((line) => line.join(" ").trimEnd()).join("\n");
}

function copied(range) {
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
  const text = copied(selection.getRangeAt(0).cloneRange());
  if (text === null) return;
  event.clipboardData.setData("text/plain", text);
  event.preventDefault();
});
