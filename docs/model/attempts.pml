/* Those who run the job: workers of one principal that claim it, are cut off for as long as it takes, report, take back and give back,
 * and the servers' watch over leases. */

mtype = { Claim, Beat, Succeed, Break, GiveBack };

bool over[WATCHES];    /* the lease that stands is one that the watch of this server saw run out */

#ifdef HEARTS
byte held = 0;         /* the first attempt of worker 0 */
#endif

#ifdef TAKE_BACK_LATE
bool lost_ever = false;
#endif

/* Whether a worker that names an attempt by its token speaks for the newest. Without tokens it is known by its principal, which all
 * workers here share. unheard() of src/domain/attempt.ts */
#ifdef NO_TOKEN
#define SPEAKS(named) (named != 0)
#else
#define SPEAKS(named) (named == attempt)
#endif

#define STANDS(named) (state == Running && SPEAKS(named))

/* Whether an attempt that ended may be taken back by who names it: it was lost, and nobody claimed the job since.
 * canTakeBack() of src/domain/attempt.ts */
#if defined(TAKE_BACK_GIVEN)
#define TAKES_BACK(named) (state == Queued && SPEAKS(named))
#elif defined(TAKE_BACK_LATE)
#define TAKES_BACK(named) (UNFINISHED && lost_ever)
#else
#define TAKES_BACK(named) (state == Queued && lost && SPEAKS(named))
#endif

/* A claim, a heartbeat and a return begin another lease. */
inline begin_lease() {
  over[0] = false;
#if WATCHES > 1
  over[1] = false;
#endif
}

/* decide() of src/domain/job.ts, for what a worker says. Whoever is not heard gets ATTEMPT_ENDED. Whether another attempt follows:
 * nextAttempt() of src/domain/attempts/retry.ts */
inline decide_report(named) {
  if
  :: call == Claim && state == Queued -> event = JobStarted        /* claimNext() of src/jobs/running/claim-job.ts */
  :: call == Beat && STANDS(named) -> event = JobProgressed        /* heartbeat() of src/jobs/running/heartbeat.ts */
  :: call == Beat && !STANDS(named) && TAKES_BACK(named) -> event = JobResumed
  :: call == Succeed && (STANDS(named) || TAKES_BACK(named)) -> event = JobCompleted /* endJob() of src/jobs/running/end-job.ts */
  :: call == Break && STANDS(named) && faults < RETRY_FAILED -> event = EndedByScript
  :: call == Break && STANDS(named) && faults >= RETRY_FAILED -> event = JobFailed
  :: call == GiveBack && STANDS(named) -> event = EndedGivenBack
  :: else -> skip
  fi
}

/* attemptStarted(), attemptEnded() and attemptResumed() of src/domain/attempts/evolve-attempts.ts */
inline record_report(named) {
  assert(event == JobStarted || named == attempt); /* who is heard speaks for the newest attempt */
  if
  :: event == JobStarted ->
     assert(state == Queued);                      /* one at a time runs it */
     state = Running; attempt++; lost = false; given = false;
     begin_lease()
  :: event == JobProgressed -> begin_lease()
  :: event == JobResumed ->
     assert(!given);                               /* what its worker gave back does not run again by an old word */
     state = Running; lost = false; expired--;
#ifndef COUNT_TAKEN_BACK
     losses--;
#endif
     begin_lease()
  :: event == JobCompleted ->
     state = Complete; results++;
     assert(results == 1)                          /* one result */
  :: event == EndedByScript -> state = Queued; faults++
  :: event == JobFailed -> state = Failed
  :: event == EndedGivenBack ->
#ifdef COUNT_GIVEN_BACK
     if :: losses < RETRY_LOST -> losses++; state = Queued :: else -> state = Failed fi;
     assert(state != Failed || expired > RETRY_LOST);
#else
     state = Queued;
#endif
     given = true
  fi;
  appended()
}

proctype worker(byte me) {
  byte mine = 0;         /* the attempt that it believes that it runs, 0 for none */
  byte claims = 0;
  byte beats = 0;        /* heartbeats that were heard */
  mtype call = Claim;
  mtype event = Nothing;
  do
  :: atomic {
       event == Nothing ->
       if
       :: mine == 0 && claims < CLAIMS && state == Queued -> call = Claim
       :: mine != 0 -> call = Succeed
       :: mine != 0 && faults <= RETRY_FAILED && FAULTS -> call = Break
       :: mine != 0 -> call = GiveBack
       :: mine != 0 && beats < BEATS -> call = Beat
       :: mine == 0 && (claims == CLAIMS || FINISHED) -> goto end
       fi;
again: skip;
       d_step {
         read(CLIENTS + me);
         decide_report(mine);
         if
         :: event == Nothing -> unread(CLIENTS + me); mine = 0; call = Claim
         :: else -> skip
         fi
       }
     }
  :: atomic {
       event != Nothing ->
       if
       :: d_step {
            UNCHANGED(CLIENTS + me) ->
            record_report(mine);
            if
            :: call == Claim -> mine = attempt; claims++
#ifdef HEARTS
               ;
               if :: me == 0 && held == 0 -> held = mine :: else -> skip fi
#endif
            :: call == Beat -> beats++
            :: else -> mine = 0
            fi;
            event = Nothing; call = Claim
          }
       :: else -> event = Nothing; goto again
       fi
     }
  od;
end:
  skip
}

#ifdef HEARTS
/* A heartbeat of the first attempt of worker 0, which is on its way for as long as it likes, beyond what the worker says next too. */
proctype heart(byte me) {
  mtype call = Beat;
  mtype event = Nothing;
  held != 0;
  do
  :: atomic {
       event == Nothing ->
again: skip;
       d_step { read(me); decide_report(held) };
       if :: event == Nothing -> unread(me); goto end :: else -> skip fi
     }
  :: atomic {
       event != Nothing ->
       if
       :: d_step { UNCHANGED(me) -> record_report(held); event = Nothing }; goto end
       :: else -> event = Nothing; goto again
       fi
     }
  od;
end:
  skip
}
#endif

/* A lease runs out, as one server sees it: sweep() of src/jobs/running/leases.ts, and `expire_lease` of decide() of src/domain/job.ts.
 * One that was renewed since is another lease, known by the revision of its event. */
proctype watch(byte me) {
  bool looked = false;
  byte sweeps = 0;
  mtype event = Nothing;
  do
  :: atomic { !looked && sweeps < SWEEPS && state == Running -> looked = true; over[me] = true }
  :: atomic {
       looked && event == Nothing ->
again: skip;
       d_step {
         read(CLIENTS + WORKERS + me);
         if
#ifdef NO_LEASE_REVISION
         :: state == Running && losses < RETRY_LOST -> event = EndedLost
         :: state == Running && losses >= RETRY_LOST -> event = JobFailed
#else
         :: state == Running && over[me] && losses < RETRY_LOST -> event = EndedLost
         :: state == Running && over[me] && losses >= RETRY_LOST -> event = JobFailed
#endif
         :: else -> unread(CLIENTS + WORKERS + me); looked = false; over[me] = false
         fi
       }
     }
  :: atomic {
       event != Nothing ->
       if
       :: d_step {
            UNCHANGED(CLIENTS + WORKERS + me) ->
            assert(over[me]);                      /* the lease that ran out is the one that stands */
            expired++; sweeps++;
            if
            :: event == EndedLost -> state = Queued; lost = true; losses++
            :: event == JobFailed ->
               state = Failed;
               assert(expired > RETRY_LOST)        /* it was tried as often as it may: what was given or taken back did not count */
            fi;
#ifdef TAKE_BACK_LATE
            lost_ever = true;
#endif
            begin_lease();
            appended();
            event = Nothing; looked = false
          }
       :: else -> event = Nothing; goto again
       fi
     }
  :: !looked && sweeps == SWEEPS -> break
  od
}
