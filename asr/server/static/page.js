// Sends a file or recorded speech to the transcription API, and shows the words with the player. While one speaks, it
// shows live captions.

const byId = (id) => document.getElementById(id);
const [form, drop, file, speak, statusLine, captions, said, saying, result, player, text, downloads, token] =
  ["form", "drop", "file", "speak", "status", "captions", "said", "saying", "result", "player", "text", "downloads",
    "token"].map(byId);
const LOW_CONFIDENCE = 0.5;
const FORMATS = { txt: "text", srt: "srt", vtt: "vtt", json: "verbose_json" };
let words = [];

function say(message, isError = false) {
  statusLine.textContent = message;
  statusLine.classList.toggle("error", isError);
}

async function request(sound, format) {
  const body = new FormData();
  body.append("file", sound, sound.name);
  body.append("model", "whisper-1");
  body.append("response_format", format);
  for (const one of ["word", "segment"]) body.append("timestamp_granularities[]", one);
  const headers = token.value ? { Authorization: `Bearer ${token.value}` } : {};
  const response = await fetch("/v1/audio/transcriptions", { method: "POST", body, headers });
  if (response.ok) return response;
  const failure = await response.json().catch(() => null);
  throw new Error(failure?.error?.message ?? `the server answered ${response.status}`);
}

async function transcribe(sound) {
  say(`Transcribing ${sound.name} …`);
  result.hidden = true;
  try {
    const transcript = await (await request(sound, "verbose_json")).json();
    captions.hidden = true;
    show(sound, transcript);
    say(transcript.text ? "" : "No speech was found.");
  } catch (error) {
    say(error.message, true);
  }
}

function show(sound, transcript) {
  if (player.src) URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(sound);
  words = transcript.words.map((word) => {
    const element = document.createElement("button");
    element.type = "button";
    element.className = word.confidence < LOW_CONFIDENCE ? "word low" : "word";
    element.style.opacity = 0.55 + 0.45 * word.confidence;
    element.title = `${word.start.toFixed(2)} s, confidence ${(100 * word.confidence).toFixed(0)} %`;
    element.textContent = word.word;
    element.addEventListener("click", () => {
      player.currentTime = word.start;
      player.play();
    });
    return { ...word, element };
  });
  text.replaceChildren(...words.flatMap(({ element }) => [element, " "]));
  downloads.replaceChildren(...Object.keys(FORMATS).map((suffix) => downloadLink(sound, suffix)));
  result.hidden = !words.length;
}

function downloadLink(sound, suffix) {
  const link = document.createElement("a");
  link.href = "#";
  link.textContent = `Download ${suffix}`;
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    try {
      const content = await (await request(sound, FORMATS[suffix])).blob();
      const saved = document.createElement("a");
      saved.href = URL.createObjectURL(content);
      saved.download = `${sound.name.replace(/\.[^.]*$/u, "")}.${suffix}`;
      saved.click();
      URL.revokeObjectURL(saved.href);
    } catch (error) {
      say(error.message, true);
    }
  });
  return link;
}

player.addEventListener("timeupdate", () => {
  for (const word of words) {
    word.element.classList.toggle("now", player.currentTime >= word.start && player.currentTime < word.end);
  }
});

file.addEventListener("change", () => file.files.length && transcribe(file.files[0]));
form.addEventListener("submit", (event) => event.preventDefault());
for (const name of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) transcribe(event.dataTransfer.files[0]);
  });
}

// Speech: samples from the microphone, kept until the button is pressed again, then sent as a WAV file.

let recording = null;

speak.addEventListener("click", async () => {
  if (recording) {
    const sound = await stopRecording();
    await transcribe(sound);
    return;
  }
  try {
    await startRecording();
    say("Speak now.");
  } catch (error) {
    say(`The microphone cannot be used: ${error.message}`, true);
  }
});

async function startRecording() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext();
  await context.audioWorklet.addModule("/static/recorder.js");
  const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  const chunks = [];
  const live = startCaptions(context.sampleRate);
  node.port.onmessage = ({ data }) => {
    chunks.push(data);
    live.send(data);
  };
  context.createMediaStreamSource(stream).connect(node);
  recording = { stream, context, chunks, live };
  speak.textContent = "Stop";
  speak.setAttribute("aria-pressed", "true");
}

async function stopRecording() {
  const { stream, context, chunks, live } = recording;
  recording = null;
  speak.textContent = "Speak";
  speak.setAttribute("aria-pressed", "false");
  for (const track of stream.getTracks()) track.stop();
  live.close();
  const rate = context.sampleRate;
  await context.close();
  return new File([wav(chunks, rate)], "speech.wav", { type: "audio/wav" });
}

// Live captions. Without them, because there is no WebSocket or the server refuses one, speech is transcribed at the end.

function startCaptions(rate) {
  said.textContent = saying.textContent = "";
  captions.hidden = result.hidden = true;
  let socket;
  try {
    const address = `${location.origin.replace(/^.{4}/u, "ws")}/v1/stream`;
    socket = new WebSocket(address, token.value ? ["asr", `bearer.${base64url(token.value)}`] : ["asr"]);
  } catch {
    return { send() {}, close() {} };
  }
  socket.addEventListener("open", () => {
    socket.send(JSON.stringify({ config: { sample_rate: rate, format: "f32le" } }));
  });
  socket.addEventListener("message", ({ data }) => {
    const answer = JSON.parse(data);
    if (answer.text) said.textContent += ` ${answer.text}`;
    saying.textContent = answer.partial ?? "";
    captions.hidden = !said.textContent && !saying.textContent;
    captions.scrollTop = captions.scrollHeight;
  });
  let waiting = [];
  const send = (samples) => {
    waiting.push(samples);
    if (socket.readyState > WebSocket.OPEN) waiting = [];
    if (socket.readyState !== WebSocket.OPEN || waiting.length * samples.length < rate / 10) return;
    socket.send(new Blob(waiting));
    waiting = [];
  };
  return { send, close: () => socket.close() };
}

function base64url(value) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(value));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function wav(chunks, rate) {
  const samples = Int16Array.from(chunks.flatMap((chunk) => [...chunk]), (x) => Math.max(-1, Math.min(1, x)) * 32767);
  const header = new DataView(new ArrayBuffer(44));
  const ascii = (offset, letters) => [...letters].forEach((one, i) => header.setUint8(offset + i, one.charCodeAt(0)));
  ascii(0, "RIFF");
  header.setUint32(4, 36 + samples.byteLength, true);
  ascii(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, 1, true);
  header.setUint32(24, rate, true);
  header.setUint32(28, 2 * rate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  ascii(36, "data");
  header.setUint32(40, samples.byteLength, true);
  return new Blob([header, samples]);
}
