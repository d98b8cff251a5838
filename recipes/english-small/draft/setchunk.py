"""setchunk.py IN OUT CHUNK LOOKAHEAD"""
import sys,json
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
with safe_open(sys.argv[1],'np') as f: meta=dict(f.metadata())
for k,v in meta.items():
    try: d=json.loads(v)
    except Exception: continue
    if isinstance(d,dict) and 'model' in d and 'chunk' in d['model']:
        d['model']['chunk'],d['model']['lookahead']=int(sys.argv[3]),int(sys.argv[4]); meta[k]=json.dumps(d); print('set in',k)
save_file(load_file(sys.argv[1]),sys.argv[2],metadata=meta)
