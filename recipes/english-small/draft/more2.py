import sys, re, os, json, hashlib
import soundfile as sf
from asr.audio import load
from pathlib import Path
import csv, io
from more import OUT, build, write, ls, show, blobs, clean, cvlike
def texts(repo,paths,rev):
    f=ls(repo,rev); ps=[p for p in paths if p in f]
    return {p:(d or b'').decode('utf-8','replace').strip() for p,d in zip(ps,blobs(repo,[f[p] for p in ps]))}
def vctk():
    repo='avgaydashenko/speech-recognition-hw'; rev='0b6abdbd7014de031e63949a59c5c25b73456083'; items=[]
    f=ls(repo,rev); w={Path(p).stem:p for p in f if re.search(r'wav48/p\d+/p\d+_\d+\.wav$',p)}
    t=texts(repo,[p for p in f if re.search(r'/txt/p\d+/p\d+_\d+\.txt$',p)],rev); t={Path(p).stem:x for p,x in t.items()}
    print(len(w),len(t))
    build('vctk',repo,[(k,w[k],t[k],k.split('_')[0]) for k in sorted(w) if k in t],rev)
def build2(name,repo,items,rev='HEAD',lo=0.5,hi=22,every=200):
    # as build, but in a random order of the items, and the manifest is written every `every` files: any prefix can be used, and a run can be stopped and started again
    files=ls(repo,rev); d=OUT/name; d.mkdir(parents=True,exist_ok=True); rows=[]; bad=0; miss=0
    items=[(i,p,clean(t),s) for i,p,t,s in items]; n=len(items); items=[x for x in items if x[2] and x[1] in files]; bad=n-len(items)
    items.sort(key=lambda x:(not (d/f'{x[0]}.flac').exists(),hashlib.sha256(x[0].encode()).hexdigest()))
    print(name,n,'of which usable',len(items),flush=True)
    def row(i,t,s):
        nonlocal bad
        a=d/f'{i}.flac'; du=sf.info(a).duration
        if lo<du<hi: rows.append(dict(id=f'{name}-{i}',audio=str(a),duration=round(du,3),text=t,speaker=f'{name}-{s}'))
        else: bad+=1
    todo=[]
    for i,p,t,s in items:
        if (d/f'{i}.flac').exists(): row(i,t,s)
        else: todo.append((i,p,t,s))
    pid=os.getpid()
    for k,((i,p,t,s),data) in enumerate(zip(todo,blobs(repo,[files[x[1]] for x in todo]))):
        if k%every==0: write(name,rows); sys.stdout.flush()
        if not data or len(data)<500: miss+=1; continue
        tmp=d/f'part{pid}{Path(p).suffix}'; out=d/f'part{pid}.flac'; tmp.write_bytes(data)
        try: w=load(tmp); sf.write(out,w,16000,'PCM_16'); os.replace(out,d/f'{i}.flac')
        except Exception as e: miss+=1; print(p,e); continue
        finally: tmp.unlink()
        row(i,t,s)
    write(name,rows); print('left out',bad,'missing',miss)
def korliu():
    repo='korliu/whisper'; rows=list(csv.DictReader(io.StringIO(show(repo,'dataset/validated.tsv')),delimiter='\t',quoting=csv.QUOTE_NONE)); seen=set(); items=[]
    for r in rows:
        if r['path'] in seen or cvlike(r['sentence'])==0: continue
        seen.add(r['path']); items.append((Path(r['path']).stem,'dataset/clips/'+r['path'],r['sentence'],r['client_id'][:8]))
    print(len(rows),len(items),len({x[3] for x in items}),flush=True)
    build2('cv-korliu',repo,items)
def shubhra():
    for n in ('17','18','19'):
        repo=f'shubhra-cv/{n}'; f=ls(repo); tsv=[p for p in f if p.endswith('/validated.tsv')][0]; pre=tsv.rsplit('/',1)[0]+'/validated_clips/'
        rows=list(csv.DictReader(io.StringIO(show(repo,tsv)),delimiter='\t',quoting=csv.QUOTE_NONE)); seen=set(); items=[]
        for r in rows:
            if r['path'] in seen or cvlike(r['sentence'])==0: continue
            seen.add(r['path']); items.append((Path(r['path']).stem,pre+r['path'],r['sentence'],r['client_id'][:8]))
        print(n,len(rows),len({x[3] for x in items if x[1] in f}),flush=True)
        build2(f'cv-shubhra{n}',repo,items)
if __name__=='__main__':
    for n in sys.argv[1:]: globals()[n]()
