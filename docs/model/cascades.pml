/* Two parents, whose workers have one principal, and a child that a worker requested, or was answered with, and that then stands among the
 * components of its parent. Who withdraws from a parent with `cascade` withdraws from what lies below it too: cancelJob() of
 * src/jobs/running/cancel-job.ts.
 *
 * A cascade is many appends, one after the other, while everybody else goes on: cascadeFrom(), carryOut() of src/jobs/running/cascade.ts. It
 * goes down only from a job that this call cancelled, and withdraws there the interests of that job's workers, and of its owner if the
 * owner said so, no others: leaversOf() of src/domain/interests/cascade.ts. It spares those of a principal for whom another parent has the
 * child that goes on, and takes those that an earlier cascade spared: planCascade() of src/domain/interests/cascade.ts. Which parents
 * there are is looked up by the log to its end, after the cancellation: parents() of projections/read-model/components.ts.
 *
 * With -DSHARED there is the other parent instead of Bob's interest in the first, with -DWANTED Ada wants the child for herself. Interests are a bit for each: ADA owns the first parent, CLEO the other; BOB joins the first and may want the child for himself, as
 * ADA may; WORKER is the principal of all workers. */

#define ADA 1
#define BOB 2
#define WORKER 4
#define CLEO 8

#define PARENT 0
#define OTHER 1
#define CHILD 2

mtype = { Queued, Running, Complete, Cancelled };
mtype = { Nothing, JobJoined, JobLeft, JobLeftAndCancelled };

mtype state[3] = Queued;
byte interest[3];
byte fresh[3];             /* as in stream.pml */
bool listed[2];            /* the child stands among the components of the parent */
bool cascaded[2];          /* the parent was cancelled with a cascade */
bool since[2];             /* the worker's interest in the child is not older than the attempt of the parent */
bool meant[2];             /* and was made while the parent was unfinished */
bool needed[2];            /* when the parent was cancelled, the other one ran and had the child among its components */
bool gave_up = false;      /* Ada left the parent with a cascade */
bool since_then = false;   /* her interest in the child is younger than that */
byte promised = 0;         /* who was told that the child is waited for, and did not say that it is no longer wanted */

#define UNFINISHED(job) (state[job] == Queued || state[job] == Running)
#define LEFT_OF(job) (1 - (job)) /* the other parent */

#ifdef NO_REVISION
#define UNCHANGED(job, caller) true
#else
#define UNCHANGED(job, caller) ((fresh[job] >> (caller)) & 1)
#endif

#ifdef UNLISTED
bool told[2];              /* the worker of the parent was answered with the child */
#define NEEDS(parent) (state[parent] == Running && told[parent])
#else
#define NEEDS(parent) (state[parent] == Running && listed[parent])
#endif

inline appended(job) {
  fresh[job] = 0;
  assert((promised & ~interest[CHILD]) == 0); /* nobody who was promised the child loses it */
  assert(promised == 0 || state[CHILD] != Cancelled);
  assert(!UNFINISHED(PARENT) || interest[PARENT] != 0);
  assert(!UNFINISHED(OTHER) || interest[OTHER] != 0)
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
  if :: event == JobLeftAndCancelled -> state[job] = Cancelled :: else -> skip fi
}

/* What a cascade knows of the other parent: whether it goes on and has the child, and whether an earlier cascade cancelled it. */
inline look(parent) {
  goes_on = UNFINISHED(LEFT_OF(parent)) && listed[LEFT_OF(parent)];
  went = cascaded[LEFT_OF(parent)] && listed[LEFT_OF(parent)]
}

/* Whose interests in the child end: those of workers that are not older than their attempts; all of the owner who says so, and
 * those that she gave up. The bits of others are not in them: theirs end only by their own word. */
inline leaving(parent, who) {
  below = 0;
#ifdef SPARED_FOR_GOOD
  if :: since[parent] -> below = below | WORKER :: else -> skip fi;
#else
  if :: since[parent] || (went && since[LEFT_OF(parent)]) -> below = below | WORKER :: else -> skip fi;
#endif
#ifndef SPARES_NOBODY
  if :: goes_on -> below = below & ~WORKER :: else -> skip fi;
#endif
  if
  :: parent == PARENT && who == ADA -> below = below | ADA
#ifdef OWNER_UNASKED
  :: parent == PARENT && who != ADA -> below = below | ADA
#elif defined(GAVE_UP_ALL)
  :: parent == PARENT && who != ADA && gave_up -> below = below | ADA
#else
  :: parent == PARENT && who != ADA && gave_up && !since_then -> below = below | ADA
#endif
  :: else -> skip
  fi
}

/* Somebody withdraws from a parent, with a cascade or without. */
proctype withdraw(byte me; byte who; byte parent) {
  mtype event = Nothing;
  byte below = 0;
  bool cascade = false;
  bool goes_on = false;
  bool went = false;
  if :: cascade = true :: skip fi;
  if
  :: (interest[parent] & who) != 0
  :: state[parent] == Complete || state[parent] == Cancelled -> goto end
  fi;
#ifdef STALE_PARENTS
  d_step { look(parent) }
#endif
again:
  atomic { skip; d_step { fresh[parent] = fresh[parent] | (1 << me); decide_left(parent, who) } }
  atomic {
    if
    :: event == Nothing -> goto end
    :: d_step {
         event != Nothing && UNCHANGED(parent, me) ->
         record_left(parent, who);
         if
         :: cascade && who == ADA -> gave_up = true; since_then = false; promised = promised & ~ADA
         :: else -> skip
         fi;
         if
         :: event == JobLeftAndCancelled -> cascaded[parent] = cascade; needed[parent] = NEEDS(LEFT_OF(parent))
         :: else -> skip
         fi;
         appended(parent)
       }
    :: else -> goto again
    fi
  }
#ifdef CASCADE_FROM_LEFT
  if :: !cascade -> goto end :: else -> skip fi;
#else
  if :: !cascade || event != JobLeftAndCancelled -> goto end :: else -> skip fi;
#endif
  event = Nothing;
plan:
  atomic {
    if :: !listed[parent] -> goto end :: else -> skip fi;
#ifndef STALE_PARENTS
    d_step { look(parent) }
#endif
  }
below_again:
  atomic { skip; d_step { fresh[CHILD] = fresh[CHILD] | (1 << me); leaving(parent, who); decide_left(CHILD, below) } }
  atomic {
    if
    :: event == Nothing -> goto end
    :: d_step {
         event != Nothing && UNCHANGED(CHILD, me) ->
         /* A parent that goes on keeps what it waits for, and so does one that had it when this cascade began. */
         assert((interest[CHILD] & below & WORKER) == 0 || !NEEDS(parent));
         assert((interest[CHILD] & below & WORKER) == 0 || !needed[parent] || !UNFINISHED(LEFT_OF(parent)));
         record_left(CHILD, below);
         promised = promised & ~who; /* who says so knows what it takes along */
         appended(CHILD);
         event = Nothing
       }
    :: else -> goto below_again
    fi
  }
  goto plan;
end:
  skip
}

/* Somebody joins the parent, or wants the child for himself or herself. */
proctype join(byte me; byte job; byte who) {
again:
  atomic {
    if
    :: UNFINISHED(job) && (interest[job] & who) == 0 -> fresh[job] = fresh[job] | (1 << me)
#ifdef ASKS_AGAIN
    :: job == CHILD && UNFINISHED(job) && (interest[job] & who) != 0 -> promised = promised | who; goto end
#endif
    :: else -> goto end
    fi
  }
  atomic {
    if
    :: d_step {
         UNCHANGED(job, me) ->
         interest[job] = interest[job] | who;
         if
         :: job == CHILD ->
            promised = promised | who;
            if :: who == ADA -> since_then = gave_up :: else -> skip fi
         :: else -> skip
         fi;
         appended(job)
       }
    :: else -> goto again
    fi
  }
#ifdef ASKS_AGAIN
  if :: job == CHILD && who == ADA -> goto again :: else -> skip fi;
#endif
end:
  skip
}

/* A worker runs a parent and requests the child, which then stands among its components. Where its principal wants the child already, its
 * interest covers the request: isCovered() of src/domain/interests/decide-interests.ts. */
proctype worker(byte me; byte parent) {
  atomic {
    if
    :: state[parent] == Queued -> d_step { state[parent] = Running; appended(parent) }
    :: state[parent] == Cancelled -> goto end
    fi
  }
  atomic {
    d_step {
      UNFINISHED(CHILD) ->
      if
      :: (interest[CHILD] & WORKER) == 0 ->
         interest[CHILD] = interest[CHILD] | WORKER;
         since[PARENT] = state[PARENT] != Queued;
         since[OTHER] = state[OTHER] != Queued;
         meant[PARENT] = state[PARENT] == Running;
         meant[OTHER] = state[OTHER] == Running;
         appended(CHILD)
      :: else -> skip
      fi;
#ifdef UNLISTED
      told[parent] = true
#endif
    }
  }
again:
  atomic { fresh[parent] = fresh[parent] | (1 << me); if :: state[parent] != Running -> goto end :: else -> skip fi }
  atomic {
    if
    :: d_step { UNCHANGED(parent, me) && state[parent] == Running -> listed[parent] = true; appended(parent) }
    :: else -> goto again
    fi
  }
end:
  skip
}

#define SPENT(parent) (!listed[parent] || cascaded[parent])

init {
  atomic {
    interest[PARENT] = ADA;
    interest[OTHER] = CLEO;
    run withdraw(0, ADA, PARENT); run join(3, CHILD, BOB); run worker(4, PARENT);
#ifdef SHARED
    run withdraw(6, CLEO, OTHER); run worker(5, OTHER)
#else
    run withdraw(1, BOB, PARENT); run join(2, PARENT, BOB)
#endif
#ifdef WANTED
    ; run join(7, CHILD, ADA)
#endif
  }
  /* When all is done, nothing goes on for the worker alone that was wanted for parents which cascades have cancelled. */
  _nr_pr == 1 ->
  assert(!(UNFINISHED(CHILD) && (interest[CHILD] & WORKER) != 0 && SPENT(PARENT) && SPENT(OTHER) &&
    ((listed[PARENT] && meant[PARENT]) || (listed[OTHER] && meant[OTHER]))))
}
