import sys,time,json,resource
from itertools import chain
from pathlib import Path
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.lm.ngram import binary
order=int(sys.argv[1]); cut=tuple(map(int,sys.argv[2].split(','))); out=Path(sys.argv[3])
vocab=Path('vocab.txt').read_text().split()
def sents():
    for l in open('books.txt'): yield l.split()
    for l in open('tc100.txt'): yield l.split()
    for _ in range(10):
        for l in open('manifests/an4/train.jsonl'): yield json.loads(l)['text'].split()
t=time.time()
m=estimate(sents(),EstimateSettings(order,cut,vocab,folder=Path('/work/lm')))
print('estimated',m.counts,time.time()-t,time.process_time(),resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6,flush=True)
binary.write(out,m)
print('written',time.time()-t,time.process_time(),flush=True)
