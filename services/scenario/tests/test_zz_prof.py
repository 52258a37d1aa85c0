import time, collections
from datetime import date, timedelta
import pytest
from sqlalchemy import event as sa_event
from kit.ids import new_id
from kit.testing import deliver
from scenario.consumers import HANDLERS
TODAY = date(2026,3,5)
@pytest.mark.usefixtures("acting")
def test_prof(database, said):
    accounts = []
    for n in range(5000):
        account_id = f"0197f000-0000-7000-8000-{n:012d}"
        items = [{"item_id": new_id(), "due_on": TODAY - timedelta(days=(n + k * 13) % 120 - 20), "open_minor": 10_000 + k} for k in range(4)]
        accounts.append((account_id, 1, items, [], {"number": f"C-{n}"}))
    events = [said.many(accounts[n : n + 500]) for n in range(0, 5000, 500)]
    spent = collections.Counter()
    sa_event.listen(database.engine, "before_cursor_execute", lambda c,cur,s,p,ctx,m: setattr(ctx,"t0",time.monotonic()))
    sa_event.listen(database.engine, "after_cursor_execute", lambda c,cur,s,p,ctx,m: spent.update({s[:110]: time.monotonic()-ctx.t0}))
    cpu=time.process_time()
    import cProfile, pstats
    pr=cProfile.Profile(); pr.enable()
    for e in events:
        t=time.monotonic(); deliver(database, HANDLERS, e); print(f"{time.monotonic()-t:.2f}")
    pr.disable(); pstats.Stats(pr).sort_stats("tottime").print_stats(28)
    print("cpu", time.process_time()-cpu)
    for s,t in spent.most_common(14): print(f"{t:.2f} {s!r}")
