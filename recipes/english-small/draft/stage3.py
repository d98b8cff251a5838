import json,os,glob
have={json.loads(l)['id'].split('-',2)[-1] for n in ('cv-omnilingo','cv-puri') for l in open(f'speech/more/{n}.jsonl')}
texts=set(); R=[]
for n in ('vctk','cv-korliu','cv-shubhra17','cv-shubhra18','cv-shubhra19'):
    k=0
    for l in open(f'speech/more/{n}.jsonl'):
        r=json.loads(l); c=r['id'].rsplit('-',1)[-1]
        if c in have: continue
        have.add(c); r['audio']=os.path.abspath(r['audio']); assert os.path.exists(r['audio']); R.append(r); k+=r['duration']
    print(n,k/3600)
open('manifests/stage3.jsonl','w').write(''.join(json.dumps(r)+'\n' for r in R)); print(len(R),sum(r['duration'] for r in R)/3600)
