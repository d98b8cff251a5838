import sys; sys.path.insert(0,'.')
from more import *
al={}
f=ls('no-aya/lipreading-model'); ps=[p for p in f if p.endswith('.align')]
for p,d in zip(ps,blobs('no-aya/lipreading-model',[f[p] for p in ps])):
    al[Path(p).stem]=' '.join(w for l in d.decode().splitlines() for w in l.split()[2:3] if w not in('sil','sp')).upper()
f=ls('TVR28/LipNet'); ps=[p for p in f if p.endswith('.mpg')]; rows=[]
O=Path('speech/grid/wav')
for p,d in zip(ps,blobs('TVR28/LipNet',[f[p] for p in ps])):
    k=Path(p).stem
    if k not in al: continue
    t=O/'t.mpg'; t.write_bytes(d)
    if subprocess.run(['ffmpeg','-v','error','-y','-i',str(t),'-vn','-ac','1','-ar','16000',str(O/f'{k}.wav')]).returncode: continue
    rows.append(dict(id=k,audio=str(O/f'{k}.wav'),duration=round(sf.info(O/f'{k}.wav').duration,3),text=al[k],speaker='s1'))
t.unlink()
rows.sort(key=lambda r:r['id'])
open('speech/grid/all.jsonl','w').write(''.join(json.dumps(r)+'\n' for r in rows)); print(len(rows),sum(r['duration'] for r in rows)/3600,rows[0])
