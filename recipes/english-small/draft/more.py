import csv, hashlib, io, json, os, re, subprocess, sys, random
from pathlib import Path
import numpy as np, soundfile as sf
from asr.audio import load
from asr.text.normalisers import normalise
M=Path('mirror'); OUT=Path('speech/more')
ALPH=set("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")
def git(repo):
    d=M/repo.replace('/','+')/'repo'
    return str(d/'.git' if (d/'.git').is_dir() else d)
def ls(repo,rev='HEAD'):
    o=subprocess.run(['git','--git-dir',git(repo),'ls-tree','-r','-z',rev],capture_output=True,check=True).stdout.decode()
    return {l.split('\t',1)[1]:l.split()[2] for l in o.split('\0') if l}
def show(repo,path,rev='HEAD'):
    return subprocess.run(['git','--git-dir',git(repo),'show',f'{rev}:{path}'],capture_output=True,check=True).stdout.decode('utf-8-sig')
def blobs(repo,shas):
    p=subprocess.Popen(['git','--git-dir',git(repo),'cat-file','--batch'],stdin=subprocess.PIPE,stdout=subprocess.PIPE)
    for s in shas:
        p.stdin.write(s.encode()+b'\n'); p.stdin.flush()
        h=p.stdout.readline().split()
        if len(h)<3: yield None; continue
        d=p.stdout.read(int(h[2])); p.stdout.read(1); yield d
    p.stdin.close(); p.wait()
def clean(t):
    t=normalise(t,'librispeech').upper()
    return t if t and set(t)<=ALPH else None
def build(name,repo,items,rev='HEAD',lo=0.5,hi=22):
    """items: (id, path, text, speaker)"""
    files=ls(repo,rev); d=OUT/name; d.mkdir(parents=True,exist_ok=True); rows=[]; bad=0; miss=0
    items=[(i,p,clean(t),s) for i,p,t,s in items]
    bad+=sum(t is None for _,_,t,_ in items)
    items=[x for x in items if x[2] and x[1] in files]
    for (i,p,t,s),data in zip(items,blobs(repo,[files[x[1]] for x in items])):
        if not data or len(data)<500: miss+=1; continue
        a=d/f'{i}.flac'
        if not a.exists():
            tmp=d/('part'+Path(p).suffix); tmp.write_bytes(data)
            try: w=load(tmp)
            except Exception as e: miss+=1; print(p,e); continue
            sf.write(d/'part.flac',w,16000,'PCM_16'); os.replace(d/'part.flac',a); tmp.unlink()
        du=sf.info(a).duration
        if not lo<du<hi: bad+=1; continue
        rows.append(dict(id=f'{name}-{i}',audio=str(a),duration=round(du,3),text=t,speaker=f'{name}-{s}'))
    write(name,rows); print('left out',bad,'missing',miss)
def write(name,rows):
    p=OUT/f'{name}.jsonl'; tmp=OUT/f'.{name}.tmp'
    tmp.write_text(''.join(json.dumps(r)+'\n' for r in rows)); os.replace(tmp,p)
    print(name,len(rows),round(sum(r['duration'] for r in rows)/3600,2),'h')
def arctic():
    text={}
    for r in csv.DictReader(open('speech/kathleen/kathleen.csv')): text[r['id'].rsplit('_',1)[0]]=r['text']
    for l in show('rhasspy/dataset-voice-cathy','cmuarctic.data').splitlines():
        m=re.match(r'\( (arctic_\w+) "(.*)" \)',l)
        if m: text[m[1]]=m[2]
    build('arctic','andabi/deep-voice-conversion',[(f'{s}_{k}',f'datasets/arctic/{s}/{k}.wav',t,s) for s in ('bdl','slt') for k,t in sorted(text.items())])
def lj():
    text={}
    for x in ('train','val','test'):
        for l in show('NVIDIA/tacotron2',f'filelists/ljs_audio_text_{x}_filelist.txt').splitlines():
            p,t=l.split('|'); text[Path(p).stem]=t
    have={p.stem for p in Path('speech/LJSpeech-1.1/wavs').glob('*.wav')}
    rev='f4919e655ab0211d6071a37192b811d974658772'
    build('lj','rabebsdiri45/tts-spongebob-voice-clone',[(k,f'wavs/{k}.wav',t,'lj') for k,t in sorted(text.items()) if k not in have],rev)
def ocean():
    items=[]
    for part in ('train','test'):
        r='jimbozhang/speechocean762'
        u=dict(l.split(None,1) for l in show(r,f'{part}/text').splitlines()); s=dict(l.split() for l in show(r,f'{part}/utt2spk').splitlines()); w=dict(l.split() for l in show(r,f'{part}/wav.scp').splitlines())
        items+=[(k,w[k],u[k],s[k]) for k in sorted(u)]
    build('speechocean762','jimbozhang/speechocean762',items)
def cvlike(t): return int(hashlib.sha256(clean(t).encode()).hexdigest(),16)%20 if clean(t) else 0
def cv():
    for name,repo,pre,tsv in [('cv-omnilingo','omnilingo/rsample-100-cv-corpus-6.1-2020-12-11','en/clips/','en/validated.tsv'),('cv-puri','puri-gagan/speechdataset','clips/','validated.tsv')]:
        rows=list(csv.DictReader(io.StringIO(show(repo,tsv)),delimiter='\t',quoting=csv.QUOTE_NONE))
        seen=set(); items=[]
        for r in rows:
            if r['path'] in seen or cvlike(r['sentence'])==0: continue
            seen.add(r['path']); items.append((Path(r['path']).stem,pre+r['path'],r['sentence'],r['client_id'][:8]))
        build(name,repo,items)
def robo():
    repo='XPRIZE/GLEXP-Team-RoboTutor-EnglishAssets'; files=ls(repo); items=[]; seen=set()
    for p in files:
        if not p.endswith('storydata.json'): continue
        base=p.replace('/assets/story/en/','/assets/audio/en/cmu/xprize/story_reading/quality_low/').rsplit('/',1)[0]
        try: d=json.loads(show(repo,p))
        except Exception as e: print(p,e); continue
        for page in d['data']:
            for para in page['text']:
                for sent in (para if isinstance(para,list) else [para]):
                    nar=sent.get('narration') or []
                    if len(nar)!=1: continue
                    a=f"{base}/{nar[0]['audio']}"; t=nar[0].get('utterances') or sent['sentence']
                    if a in files and files[a] not in seen and len(t.split())>1:
                        seen.add(files[a]); n=re.sub(r'\W+','_',a.split('quality_low/')[1][:-4]); items.append((n[:120],a,sent['sentence'],'robotutor'))
    print(len(items)); build('robotutor',repo,items)
def robowords():
    repo='XPRIZE/GLEXP-Team-RoboTutor-EnglishAssets'; files=ls(repo); seen=set(); items=[]
    for p,s in sorted(files.items()):
        m=re.search(r'(English_StoryWords)/.*/literacy/([a-z]{2,})\.mp3$',p)
        if m and s not in seen and m[2] not in seen: seen|={s,m[2]}; items.append((m[2],p,m[2],'robotutor'))
    build('robotutor-words',repo,items,lo=0.3)
def asp():
    a='global-asp/asp-audio'; files=ls(a); src={p.split('/')[1][:4]:p for p in ls('global-asp/asp-source') if p.startswith('en/') and p[3:7].isdigit()}
    items=[]
    for st in sorted({p.split('/')[1] for p in files if p.startswith('en/') and '/mp3/' in p}):
        pages=sorted(p for p in files if p.startswith(f'en/{st}/mp3/'))
        md=show('global-asp/asp-source',src[st[:4]]) if st[:4] in src else ''
        lic=re.search(r'\* License: \[(.*?)\]',md); secs=re.split(r'^##\s*$',md,flags=re.M)
        title=secs[0].strip('# \n'); body=[' '.join(s.split()) for s in secs[1:] if not s.strip().startswith('* License')]
        print(st,len(pages),len(body),lic and lic[1],[Path(p).stem for p in pages][:2])
        if not lic or lic[1]!='CC-BY': continue
        for p in pages:
            n=int(re.sub(r'\D','',Path(p).stem) or 0); 
            seq=[title]+body if len(pages)>=len(body)+1 else body
            off=pages.index(p)
            if off<len(seq): items.append((f'{st[:4]}_{Path(p).stem}',p,seq[off],st[:4]))
    build('asp',a,items,hi=30)
def fsdd():
    repo='Jakobovski/free-spoken-digit-dataset'; files=[p for p in ls(repo) if p.startswith('recordings/')]; sh=ls(repo)
    W='ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE'.split(); by={}
    for p,d in zip(files,blobs(repo,[sh[p] for p in files])):
        dg,s,_=Path(p).stem.split('_'); x,r=sf.read(io.BytesIO(d),dtype='float32'); by.setdefault(s,[]).append((int(dg),x,r))
    from asr.audio import from_array
    R=random.Random(1); rows=[]; d=OUT/'fsdd'; d.mkdir(exist_ok=True)
    for s,xs in sorted(by.items()):
        R.shuffle(xs); k=0
        while xs:
            take,xs=xs[:R.randint(3,8)],xs[8:] if False else xs
            n=len(take); xs=xs[n:]; r=take[0][2]
            parts=[]
            for dg,x,_ in take: parts+=[x,R.uniform(0.05,0.25)]
            sig=np.concatenate([p if not isinstance(p,float) else np.random.default_rng(k).normal(0,1e-4,int(p*r)).astype('float32') for p in parts])
            a=d/f'{s}_{k:03d}.flac'; w=from_array(sig,r); sf.write(a,w,16000,'PCM_16')
            rows.append(dict(id=f'fsdd-{s}_{k:03d}',audio=str(a),duration=round(len(w)/16000,3),text=' '.join(W[dg] for dg,_,_ in take),speaker=f'fsdd-{s}')); k+=1
    write('fsdd',rows)
if __name__=='__main__':
    for n in sys.argv[1:]: globals()[n]()
