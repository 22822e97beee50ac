import time, tempfile, sys
from pathlib import Path
import torch
from tl_robust.metrics import METRICS
from tl_robust.sinks.wandb_sink import *
from tl_robust.types import *
def make(i, K=16, N=300):
    g=torch.Generator().manual_seed(i)
    r=lambda *s: torch.randint(10,s,generator=g)
    o=Outcome(torch.arange(N), l:=r(N), l.clone(), l.clone(), r(K,N), r(K,N), torch.zeros(K,N), torch.arange(K).double()/255, torch.zeros(N,dtype=torch.bool), torch.ones(K,N,dtype=torch.bool))
    from tl_robust.seeding import digest
    return Result(digest(i), Cell("embedded","a","b","dtn","finetune","","none","pgd","linf","black",i), o, o, {n: METRICS[n].curve(o,o) for n in METRICS.names()}, Verdict("amber",("Few.",)), {"surrogate":{"key":"k","parent":None}, "seconds": 3.2})
if __name__=="__main__":
    rs=[make(i) for i in range(36)]
    d=Path("/tmp/wbt/res"); 
    for _ in range(2):
        t=time.time(); p=publish(rs,{"axes":{"seed":[0,1]}},d,WandbSettings()); dt=time.time()-t
        print(dt, dt/36, p)
    t0=time.time()
    import atexit; atexit.register(lambda: print("exit", time.time()-t0))
