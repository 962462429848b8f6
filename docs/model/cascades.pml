/* Two jobs: a parent, and a child that the parent's worker requested while it ran, which is among its components. Who withdraws from the
 * parent with `cascade` withdraws from what lies below it too: cancelJob() of src/jobs/running/cancel-job.ts.
 *
 * A cascade is many appends, one after the other, while everybody else goes on: cascadeFrom() of src/jobs/running/cascade.ts. It goes down
 * only from a job that this call cancelled, and withdraws there the interests of that job's owner and of its workers, no others: leaversOf()
 * of src/jobs/running/cascade.ts.
 *
 * Interests are a bit for each: ADA owns the parent, BOB joins it and may want the child for himself, WORKER runs the parent and requested
 * the child. -DTWO_PARENTS gives the child a second parent, of another owner, which the same principal works on; with -DOWNER_WANTS_CHILD
 * Ada wants the child for herself too. */

#define ADA 1
#define BOB 2
#define WORKER 4

#define PARENT 0
#define CHILD 1

mtype = { Queued, Running, Complete, Cancelled };
mtype = { Nothing, JobJoined, JobLeft, JobLeftAndCancelled };

mtype state[2] = Queued;
byte interest[2];
byte fresh[2];             /* as in stream.pml */
bool reachable = false;    /* the child stands among the components of the parent */
byte promised = 0;         /* who was told that the child is waited for, and neither withdrew nor lost the parent by which it was wanted */
#ifdef TWO_PARENTS
bool other_parent = false; /* another parent runs, whose worker is the same principal, and was answered with the child */
#endif

#define UNFINISHED(job) (state[job] == Queued || state[job] == Running)

#ifdef NO_REVISION
#define UNCHANGED(job, caller) true
#else
#define UNCHANGED(job, caller) ((fresh[job] >> (caller)) & 1)
#endif

inline appended(job) {
  fresh[job] = 0;
  assert((promised & ~interest[CHILD]) == 0 || state[CHILD] == Complete); /* nobody who was promised the child loses it */
  assert(promised == 0 || state[CHILD] != Cancelled);
  assert(!UNFINISHED(PARENT) || interest[PARENT] != 0);
  /* A parent that goes on keeps what it waits for. */
  assert(state[PARENT] != Running || !reachable || state[CHILD] != Cancelled);
#ifdef TWO_PARENTS
  assert(!other_parent || state[CHILD] != Cancelled);
#endif
  assert(!UNFINISHED(CHILD) || !reachable || interest[CHILD] != 0)
}

/* Those of `who` leave a job: all at one moment, the last with the job's end. */
inline decide_left(job, who) {
  if
#ifdef CASCADE_TAKES_ALL
  :: UNFINISHED(job) && job == CHILD && interest[job] != 0 -> event = JobLeftAndCancelled
#endif
  :: UNFINISHED(job) && (interest[job] & (who)) != 0 && (interest[job] & ~(who)) != 0 -> event = JobLeft
  :: UNFINISHED(job) && (interest[job] & (who)) != 0 && (interest[job] & ~(who)) == 0 -> event = JobLeftAndCancelled
  :: else -> event = Nothing
  fi
}

inline record_left(job, who) {
  interest[job] = interest[job] & ~(who);
  if :: event == JobLeftAndCancelled -> state[job] = Cancelled :: else -> skip fi;
  /* The promise to a worker is of use only with its parent, and ends with it. */
  if
  :: job == PARENT && event == JobLeftAndCancelled -> promised = promised & ~WORKER
  :: else -> skip
  fi
}

/* Ada or Bob withdraws from the parent, with cascade. */
proctype withdraw(byte me; byte who) {
  mtype event = Nothing;
  byte below = 0;          /* whose interests go, in the child */
  if
  :: (interest[PARENT] & who) != 0
  :: state[PARENT] == Complete || state[PARENT] == Cancelled -> goto end
  fi;
again:
  atomic { skip; d_step { fresh[PARENT] = fresh[PARENT] | (1 << me); decide_left(PARENT, who) } }
  atomic {
    if
    :: event == Nothing -> goto end
    :: d_step {
         event != Nothing && UNCHANGED(PARENT, me) ->
         record_left(PARENT, who);
#ifdef CASCADE_FROM_LEFT
         below = ADA | WORKER;
#else
         if :: event == JobLeftAndCancelled -> below = ADA | WORKER :: else -> skip fi;
#endif
         appended(PARENT);
         event = Nothing
       }
    :: else -> goto again
    fi
  }
  if :: below == 0 || !reachable -> goto end :: else -> skip fi;
below_again:
  atomic { skip; d_step { fresh[CHILD] = fresh[CHILD] | (1 << me); decide_left(CHILD, below) } }
  atomic {
    if
    :: event == Nothing -> goto end
    :: d_step {
         event != Nothing && UNCHANGED(CHILD, me) ->
         record_left(CHILD, below);
         promised = promised & ~who; /* who says so knows what it takes along */
         appended(CHILD);
         event = Nothing
       }
    :: else -> goto below_again
    fi
  }
end:
  skip
}

/* Somebody joins the parent, or wants the child for himself. */
proctype join(byte me; byte job; byte who) {
again:
  atomic {
    if
    :: UNFINISHED(job) && (interest[job] & who) == 0 -> fresh[job] = fresh[job] | (1 << me)
    :: else -> goto end
    fi
  }
  atomic {
    if
    :: d_step {
         UNCHANGED(job, me) ->
         interest[job] = interest[job] | who;
         if :: job == CHILD -> promised = promised | who :: else -> skip fi;
         appended(job)
       }
    :: else -> goto again
    fi
  }
end:
  skip
}

/* The worker runs the parent and requests the child, which then stands among its components. */
proctype worker(byte me) {
  atomic {
    if
    :: state[PARENT] == Queued -> d_step { state[PARENT] = Running; appended(PARENT) }
    :: state[PARENT] == Cancelled -> goto end
    fi
  }
  atomic {
    d_step {
      interest[CHILD] = interest[CHILD] | WORKER;
      if :: state[PARENT] == Running -> promised = promised | WORKER :: else -> skip fi;
      appended(CHILD)
    }
  }
again:
  atomic { fresh[PARENT] = fresh[PARENT] | (1 << me); if :: state[PARENT] != Running -> goto end :: else -> skip fi }
  atomic {
    if
    :: d_step { UNCHANGED(PARENT, me) && state[PARENT] == Running -> reachable = true; appended(PARENT) }
    :: else -> goto again
    fi
  }
end:
  skip
}

#ifdef TWO_PARENTS
/* The worker of another parent asks for the same child. Its principal's interest stands already: JobReused. */
proctype other_worker() {
  atomic { reachable && UNFINISHED(CHILD) && (interest[CHILD] & WORKER) != 0 -> other_parent = true }
}
#endif

init {
  atomic {
    interest[PARENT] = ADA;
    run withdraw(0, ADA); run withdraw(1, BOB); run join(2, PARENT, BOB); run join(3, CHILD, BOB); run worker(4)
#ifdef TWO_PARENTS
    ; run other_worker()
#endif
#ifdef OWNER_WANTS_CHILD
    ; run join(5, CHILD, ADA)
#endif
  }
}
