"""avg.py OUT W1 M1 W2 M2 ..: weighted mean of the weights; metadata of the first"""
import sys
from safetensors import safe_open
from safetensors.numpy import save_file
from asr.model import checkpoint
import numpy as np
out=sys.argv[1]; pairs=[(float(sys.argv[i]),sys.argv[i+1]) for i in range(2,len(sys.argv),2)]
T=None
for w,p in pairs:
    _,t=checkpoint.read(p)
    t={k:w*np.asarray(v,np.float32) for k,v in t.items()}
    T=t if T is None else {k:T[k]+t[k] for k in T}
with safe_open(pairs[0][1],'np') as f: meta=f.metadata(); names=set(f.keys())
extra={}
from safetensors.numpy import load_file
raw=load_file(pairs[0][1])
print(sorted(set(raw)-set(T))[:10], len(T))
for k in raw:
    if k not in T: extra[k]=raw[k]
save_file({k:np.ascontiguousarray(v,np.float32) for k,v in T.items()}|extra,out,metadata=meta)
