import collections,json
b=collections.Counter()
for l in open('books.txt'): b.update(l.split())
t=collections.Counter()
for l in open('tc100.txt'): t.update(l.split())
an=collections.Counter(w for f in ('train','dev') for l in open(f'manifests/an4/{f}.jsonl') for w in json.loads(l)['text'].split())
dev=[w for l in open('manifests/dev-clean.jsonl') for w in json.loads(l)['text'].split()]
print(len(b),len(t),len(an),len(dev))
import pickle
comb=collections.Counter()
for w,c in b.items(): comb[w]+=c
for w,c in t.items(): comb[w]+=c   # plain sum
for minc in (1,2,3,4,5,6,8,10,15,20,30,50):
    v={w for w,c in comb.items() if c>=minc}|set(an)
    print('min',minc,len(v),'oov %.2f'%(100*sum(w not in v for w in dev)/len(dev)))
for mt in (1,2):
  for minc in (5,10,15,20,30):
    v={w for w,c in comb.items() if c>=minc}|{w for w,c in t.items() if c>=mt}|set(an)
    print('min',minc,'or tc100 >=',mt,len(v),'oov %.2f'%(100*sum(w not in v for w in dev)/len(dev)))
with open('counts.txt','w') as o:
    for w,c in comb.most_common(): o.write(f'{w} {c}\n')
with open('an4.words','w') as o: o.write('\n'.join(sorted(an))+'\n')
