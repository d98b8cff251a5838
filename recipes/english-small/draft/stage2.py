import subprocess
A={}
for part in ('train','test'):
    o=subprocess.run(['git','--git-dir','mirror/jimbozhang+speechocean762/repo','show','HEAD:%s/spk2age'%part],capture_output=True,text=True,check=True).stdout
    for l in o.splitlines():
        k,v=l.split(); A[k]=int(v)
KIDS={k for k,v in A.items() if v<16}
print(len(A),len(KIDS))
import json,os,sys,glob
R=[json.loads(l) for l in open('manifests/stage1.jsonl')]
for r in R:
    if not r['audio'].startswith('/'): r['audio']=os.path.abspath(os.path.join('manifests/noise',r['audio'])) if not os.path.exists(r['audio']) else os.path.abspath(r['audio'])
    assert os.path.exists(r['audio']),r
seen={r['id'] for r in R}
for p in sorted(glob.glob('speech/more/*.jsonl')):
    n=os.path.basename(p)[:-6]; k=0;h=0
    for i,l in enumerate(open(p)):
        r=json.loads(l)
        if n=='robotutor-words' and i%4: continue
        if n=='speechocean762': 
            pass
        if 'adult' in r and not r['adult']: continue
        if not r['text'].strip() or r['id'] in seen or not 0.5<r['duration']<25: continue
        r['audio']=os.path.abspath(r['audio']); assert os.path.exists(r['audio'])
        if r['id'].startswith('asp-0311') or r['id'].startswith('asp-0293'): continue
        if n=='speechocean762' and r['speaker'].split('-')[-1] in KIDS: continue
        seen.add(r['id']); R.append(r); k+=1; h+=r['duration']
    print(n,k,round(h/3600,2))
json.dump
with open('manifests/stage2.tmp','w') as f:
    for r in R: f.write(json.dumps(r)+'\n')
os.replace('manifests/stage2.tmp','manifests/stage2.jsonl')
print(len(R),sum(r['duration'] for r in R)/3600)
