import sys,json,numpy as np,soundfile as sf,os
from asr.features.distortion import synthetic_noise
os.makedirs('/work/speech/noise',exist_ok=True)
with open('/work/speech/noise/noise.jsonl','w') as f:
    for n in range(500):
        r=np.random.default_rng((77,n)); d=r.uniform(1,7); s=int(d*16000)
        x=synthetic_noise(s,16000,r); k=n%5
        if k==3: # clicks, tones
            x=x*0.02; 
            for _ in range(int(r.integers(1,8))): i=int(r.integers(s-800)); x[i:i+int(r.integers(20,800))]+=r.uniform(.2,3)
        if k==4:
            t=np.arange(s)/16000; x=0.05*x
            for _ in range(int(r.integers(1,4))):
                a,b=sorted(r.uniform(0,d,2)); x+= (np.sin(2*np.pi*r.uniform(150,2000)*t)*((t>a)&(t<b))).astype(np.float32)
        x=x/np.abs(x).max()*10**(-r.uniform(3,60)/20)
        if n%40==0: x=np.zeros(s,np.float32); x[::1000]=1/32768
        p=f'/work/speech/noise/noise-{n:04d}.flac'; sf.write(p,x,16000)
        f.write(json.dumps(dict(id=f'noise-{n:04d}',audio=p,duration=round(s/16000,3),text='',speaker='noise'))+'\n')
