// The list of utterances: sort, filter, search; rows are created when they come into view.

const BATCH = 40;
const data = JSON.parse(document.getElementById("data").textContent);
const several = data.systems.length > 1;
const lineNames = several ? ["reference", ...data.systems] : ["ref", "hyp"];
const [form, list, more, count] = ["controls", "list", "more", "count"].map((id) => document.getElementById(id));
const collator = new Intl.Collator("en", { numeric: true });
const sum = (numbers) => numbers.reduce((total, one) => total + one, 0);
const number = (value) => value.toLocaleString("en");
const counted = (value, thing) => `${number(value)} ${thing}${value === 1 ? "" : "s"}`;
const percent = (errors, words) => (words ? `${((100 * errors) / words).toFixed(2)} %` : "–");

const rows = data.utterances.map((row, index) => {
  const errors = row.results.map((one) => sum(one.kinds));
  const most = Math.max(...errors);
  const rate = row.words ? most / row.words : most ? Infinity : 0;
  return { ...row, index, errors, most, rate, spread: most - Math.min(...errors) };
});
let shown = rows;
const nearing = new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting)) render(list.children.length + BATCH);
}, { rootMargin: "1000px" });

function fields() {
  return Object.fromEntries(new FormData(form));
}

function haystack(row, where) {
  row.texts ??= texts(row.results.map((one) => one.alignment)).map((line) => line.toLowerCase());
  if (where === "r") return row.texts[0];
  if (where) return row.texts[Number(where) + 1];
  return [row.id.toLowerCase(), ...row.texts, ...(row.raw ?? []).map((line) => line.toLowerCase())].join("\n");
}

function within(value, from, to) {
  return (!from || value >= Number(from)) && (!to || value <= Number(to));
}

function hasKind(row, kind) {
  if (!kind) return true;
  if (kind === "some" || kind === "none") return row.most > 0 === (kind === "some");
  return row.results[0].kinds[Number(kind)] > 0;
}

function isBest(row, best) {
  if (!best) return true;
  if (best === "same") return row.spread === 0;
  return row.spread > 0 && row.errors[Number(best)] === Math.min(...row.errors);
}

function matches(row, filter) {
  const words = (filter.find ?? "").toLowerCase().split(/\s+/u).filter(Boolean).join(" ");
  return (
    (!filter.speaker || row.speaker === filter.speaker) &&
    hasKind(row, filter.kind) &&
    isBest(row, filter.best) &&
    within(100 * row.rate, filter.wer_from, filter.wer_to) &&
    within(row.words, filter.words_from, filter.words_to) &&
    (!words || haystack(row, filter.where).includes(words))
  );
}

const ORDERS = {
  errors: (one, two) => two.most - one.most || two.rate - one.rate,
  highest: (one, two) => (one.rate === two.rate ? two.most - one.most : two.rate - one.rate),
  lowest: (one, two) => (one.rate === two.rate ? two.words - one.words : one.rate - two.rate),
  longest: (one, two) => two.words - one.words,
  shortest: (one, two) => one.words - two.words,
  speaker: (one, two) => collator.compare(one.speaker, two.speaker),
  id: (one, two) => collator.compare(one.id, two.id),
  spread: (one, two) => two.spread - one.spread || one.words - two.words,
  order: () => 0,
};

function order(name) {
  if (name.startsWith("most")) {
    const system = Number(name.slice(4));
    return (one, two) => two.errors[system] - one.errors[system];
  }
  return ORDERS[name];
}

function details(row) {
  const parts = [counted(row.words, "word")];
  if (row.speaker) parts.unshift(`speaker ${row.speaker}`);
  if (row.duration) parts.push(`${row.duration.toFixed(1)} s`);
  if (several) parts.push(...data.systems.map((name, index) => `${name}: ${counted(row.errors[index], "error")}`));
  else parts.push(counted(row.most, "error"), `WER ${percent(row.most, row.words)}`);
  if (row.confidences?.length) {
    const mean = sum(row.confidences) / row.confidences.length;
    parts.push(`confidence ${(100 * mean).toFixed(0)} %${mean < data.low_confidence ? ", low" : ""}`);
  }
  const element = make("span", undefined, "soft");
  // Each part is isolated, as a name may be written from right to left.
  parts.forEach((part, index) => element.append(index ? " · " : "", make("bdi", part)));
  return element;
}

// Confidences belong to the words as given, which a normaliser may have joined or split.
function confidenceOf(row) {
  const words = texts([row.results[0].alignment])[1].split(" ").filter(Boolean).length;
  if (row.confidences?.length !== words) return () => "";
  return (index) => `confidence ${row.confidences[index]}`;
}

function asGiven(row) {
  const element = make("details", make("summary", "as given"));
  row.raw.forEach((line, index) => {
    const shown = make("bdi", line);
    shown.dir = "auto";
    const whole = make("p", make("span", `${lineNames[index]} `, "soft"), "raw");
    whole.append(shown);
    element.append(whole);
  });
  return element;
}

function rowElement(row) {
  const element = make("li");
  element.id = `utterance-${row.index}`;
  element.tabIndex = -1;
  const link = make("a", make("bdi", row.id));
  link.href = `#${element.id}`;
  const heading = make("p", link, "heading");
  heading.append(" ", details(row));
  const alignments = row.results.map((one) => one.alignment);
  element.append(heading, alignmentElement(alignments, lineNames, confidenceOf(row)));
  if (row.raw) element.append(asGiven(row));
  if (row.audio) {
    const sound = make("audio");
    Object.assign(sound, { controls: true, preload: "metadata", src: row.audio });
    element.append(sound);
  }
  return element;
}

function render(upTo) {
  const from = list.children.length;
  if (from < upTo) list.append(...shown.slice(from, upTo).map(rowElement));
  more.hidden = list.children.length >= shown.length;
  // Observing again reports whether the button is still near.
  nearing.unobserve(more);
  nearing.observe(more);
}

function summary() {
  const words = sum(shown.map((row) => row.words));
  const errors = data.systems.map((name, system) => sum(shown.map((row) => row.errors[system])));
  const rates = several
    ? `errors: ${data.systems.map((name, index) => `${name} ${number(errors[index])}`).join(", ")}`
    : `${counted(errors[0], "error")}, WER ${percent(errors[0], words)}`;
  return `${number(shown.length)} of ${counted(rows.length, "utterance")}: ${counted(words, "word")}, ${rates}`;
}

function refresh() {
  const filter = fields();
  // Array.prototype.sort is stable: equal rows stay in the order of the references.
  shown = rows.filter((row) => matches(row, filter)).sort(order(filter.sort));
  list.replaceChildren();
  render(BATCH);
  const none = `None of ${counted(rows.length, "utterance")} matches; "Show all" clears the filters.`;
  count.textContent = shown.length || !rows.length ? summary() : none;
}

function showAll() {
  form.reset();
  refresh();
}

function reveal(index) {
  const row = rows[index];
  if (!row) return;
  if (!shown.includes(row)) showAll();
  render(shown.indexOf(row) + BATCH / 2);
  const element = document.getElementById(`utterance-${index}`);
  list.querySelector(".target-row")?.classList.remove("target-row");
  element.classList.add("target-row");
  element.focus({ preventScroll: true });
  element.scrollIntoView({ block: "center" });
}

function followHash() {
  const match = /^#utterance-(\d+)$/.exec(location.hash);
  if (match) reveal(Number(match[1]));
}

function step(by) {
  const here = document.activeElement.closest("#list > li");
  if (by > 0 && here === list.lastElementChild) render(list.children.length + BATCH);
  const next = here ? (by > 0 ? here.nextElementSibling : here.previousElementSibling) : list.firstElementChild;
  next?.focus();
}

const KEYS = { "/": () => form.elements.find.focus(), j: () => step(1), k: () => step(-1), Escape: showAll };

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea, audio");
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a");
  if (!link) return;
  if (link.dataset.speaker !== undefined) {
    form.reset();
    if (form.elements.speaker) form.elements.speaker.value = link.dataset.speaker;
    refresh();
  } else if (link.getAttribute("href") === location.hash) followHash();
});

form.addEventListener("input", refresh);
form.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("all").addEventListener("click", showAll);
more.addEventListener("click", () => render(list.children.length + BATCH));
window.addEventListener("hashchange", followHash);
window.addEventListener("beforeprint", () => {
  const part = list.children.length < shown.length;
  list.dataset.printed = part ? `The first ${list.children.length} of these are printed.` : "";
});

form.hidden = false;
refresh();
followHash();
