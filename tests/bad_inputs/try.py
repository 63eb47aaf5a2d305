import sys, time, importlib
from bad_inputs import judge
mod = importlib.import_module("bad_inputs." + sys.argv[1])
pat = sys.argv[2] if len(sys.argv) > 2 else ""
t = time.time(); bad = 0; slow = []
judge.bound_memory()
for c in mod.CASES:
    if pat and pat not in c.id: continue
    t0 = time.time()
    try: w = judge.run_case(c)
    except Exception as e:
        import traceback; w = ["CASE: " + traceback.format_exc()[-600:]]
    slow.append((time.time() - t0, c.id))
    if bool(w) != bool(c.waits):
        bad += 1; print("==", c.id, "(%s)" % c.how); [print("  ", x) for x in w]
print(len(mod.CASES), "cases", bad, "bad", round(time.time() - t, 1), "s", [(round(a,2), b) for a, b in sorted(slow)[-4:]])
