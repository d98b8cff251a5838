import json,re,random,hashlib,os,sys,glob,csv
import soundfile as sf
from asr.corpora import manifest
from asr.text.normalisers import normalise
M='manifests'
ALPH=set("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")
def rows(p):
    base=os.path.dirname(p)
    for l in open(p):
        r=json.loads(l); r['audio']=os.path.normpath(os.path.join(base,r['audio'])); yield r
def clean(t):
    t=normalise(t,'librispeech').upper(); return t if t and set(t)<=ALPH else None
def write(name,rs):
    rs=list(rs)
    with open(f'{M}/{name}.jsonl','w') as f:
        for r in rs: f.write(json.dumps(r)+'\n')
    print(name,len(rs),round(sum(r['duration'] for r in rs)/3600,2))
    return rs
real=[];seen=set()
for n in ['train-clean-5','train-clean-100','an4/train']:
    for r in rows(f'{M}/{n}.jsonl'):
        if r['id'] not in seen: seen.add(r['id']); real.append(r)
cv=[];cvdev=[];bad=0
for r in rows(f'{M}/common-voice.jsonl/common-voice.jsonl'):
    t=clean(r['text'])
    if not t: bad+=1; continue
    r['text']=t; r['id']='cv-'+r['id']; r.pop('speaker',None); r['audio']=r['audio'].replace('/clips/','/flac/').replace('.mp3','.flac'); r['duration']=round(sf.info(r['audio']).duration,3)
    (cvdev if int(hashlib.sha256(t.encode()).hexdigest(),16)%20==0 else cv).append(r)
kath=[]
for r in rows(f'{M}/kathleen.jsonl/kathleen.jsonl'):
    t=clean(r['text'])
    if t: r['text']=t; r['id']='kath-'+r['id']; kath.append(r)
    else: bad+=1
lj=[]
for l in open('speech/LJSpeech-1.1/metadata.csv'):
    p=l.rstrip('\n').split('|'); a=f'speech/LJSpeech-1.1/wavs/{p[0]}.wav'
    if os.path.exists(a):
        t=clean(p[2]); 
        if t: lj.append(dict(id='lj-'+p[0],audio=a,duration=round(sf.info(a).duration,3),text=t,speaker='lj'))
        else: bad+=1
print('bad',bad)
write('cv-dev',cvdev)
real+=cv+kath+lj
real=[r for r in real if 0.5<r['duration']<25]
if len(sys.argv)>1: 
    extra=[]
    for p in sys.argv[2:]:
        for q in glob.glob(p):
            for l in open(q):
                r=json.loads(l)
                if not r.get('id') or not r.get('audio'): continue
                r['audio']=os.path.normpath(os.path.join(os.path.dirname(q),r['audio']))
                t=clean(r['text']) if r['text'] else ''
                if t is None or not 0.5<r['duration']<22 or not os.path.exists(r['audio']): continue
                r['text']=t; extra.append(r)
    print('extra',round(sum(r['duration'] for r in extra)/3600,2))
    write(sys.argv[1],real+extra)
else: write('real',real)
