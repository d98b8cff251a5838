from dataclasses import replace
from asr.model import checkpoint
from asr.recognition import named_models
b=named_models.find('english-small'); net,c=checkpoint.load(b.model)
print(c.settings)
s=replace(c.settings,features=replace(c.settings.features,normalisation='speech',top_db=75.0))
import inspect; print(inspect.signature(checkpoint.save))
m=checkpoint.matrices(c)
checkpoint.save('/work/train/start.safetensors',net,s,matrices=m,card=c.card)
