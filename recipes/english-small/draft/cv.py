import soundfile as sf,glob,os
from concurrent.futures import ProcessPoolExecutor
os.makedirs('speech/common-voice/flac',exist_ok=True)
def do(p):
    x,r=sf.read(p,dtype='float32'); 
    if x.ndim>1:x=x.mean(1)
    sf.write('speech/common-voice/flac/'+os.path.basename(p)[:-4]+'.flac',x,r); return len(x)/r
if __name__=='__main__':
    with ProcessPoolExecutor(2) as p: print(sum(p.map(do,sorted(glob.glob('speech/common-voice/clips/*.mp3')),chunksize=32))/3600)
