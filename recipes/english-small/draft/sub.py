import json,random
r=[json.loads(l) for l in open('manifests/stage1.jsonl')]; random.Random(3).shuffle(r)
tot=0;k=[]
for x in r:
    if tot>8.6*3600: break
    k.append(x); tot+=x['duration']
open('manifests/decay.jsonl','w').writelines(json.dumps(x)+'\n' for x in k); print(len(k),tot/3600)
