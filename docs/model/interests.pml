/* Those who want the job: clients that request it, join it, poll, change their priority and withdraw, and what a server does by itself
 * when a limit of the queue is over. */

#define BIT(client) (1 << (client))
#define MINE(client) ((interest & BIT(client)) != 0)
#define OTHERS(client) ((interest & ~BIT(client)) != 0)

mtype = { Ask, AskUrgently, Withdraw, ForEveryone, Calm, Urge };

#ifdef STALE_POLL
byte seen = 0;          /* interests as the view of a server has them, which may be old */
#define COVERED(client) ((seen & BIT(client)) != 0)
#else
#define COVERED(client) MINE(client)
#endif

#ifdef OUTRIGHT
byte owner = 0;         /* who requested it */
#endif

#ifdef REPEATS
byte joins = 0;         /* how many interests client 0 has had: which one it is */
bool withdrew = false;  /* it withdrew the first */
#endif

#ifdef PRIORITIES
#ifdef LAST_WISH
#define PRIORITY(standing, wished, last) (last)
#else
#define PRIORITY(standing, wished, last) (((wished) & (standing)) != 0)
#endif
#endif

/* createJob() of src/jobs/deciding/create-job.ts, answerEvent() and joinJob() of src/jobs/deciding/answer-with-job.ts, join() and isCovered()
 * of src/domain/interests/decide-interests.ts.
 * Whoever asks for what has finished is answered with that or with another run: runs.pml. */
inline decide_ask(client) {
  if
  :: state == None -> event = JobRequested
  :: UNFINISHED && COVERED(client) -> /* JobReused, at any revision: a promise is given, and the stream was read to its end for it */
     promised = promised | BIT(client);
     promises()
  :: UNFINISHED && !COVERED(client) -> event = JobJoined
  :: FINISHED -> skip
  fi
}

/* cancelJob() of src/jobs/running/cancel-job.ts, leave() of src/domain/interests/decide-interests.ts: the last to leave cancels the job,
 * in one append. */
inline decide_withdraw(client) {
  if
  :: UNFINISHED && MINE(client) && OTHERS(client) -> event = JobLeft
  :: UNFINISHED && MINE(client) && !OTHERS(client) -> event = JobLeftAndCancelled
  :: else -> skip
  fi
}

/* cancelJob() of src/jobs/running/cancel-job.ts with for_everyone, by the owner: only while nobody else joined. */
inline decide_for_everyone(client) {
#ifdef OUTRIGHT
  if
#ifdef OWNER_TAKES_ALL
  :: UNFINISHED && client == owner -> event = JobCancelled
#else
  :: UNFINISHED && client == owner && !OTHERS(client) -> event = JobCancelled
#endif
  :: else -> skip
  fi
#else
  skip
#endif
}

/* What the priority of the job will be, which stands in the event: join(), leave() and reprioritise() of
 * src/domain/interests/decide-interests.ts */
inline decide_priority(client) {
#ifdef PRIORITIES
  if
  :: event == JobRequested || event == JobJoined ->
     high = PRIORITY(interest | BIT(client), (call == AskUrgently -> wishes | BIT(client) : wishes), call == AskUrgently)
  :: event == JobUpdated ->
     high = PRIORITY(interest, (call == Urge -> wishes | BIT(client) : wishes & ~BIT(client)), call == Urge)
  :: event == JobLeft -> high = PRIORITY(interest & ~BIT(client), wishes, urgent)
  :: else -> skip
  fi
#else
  skip
#endif
}

inline record_priority(client) {
#ifdef PRIORITIES
  urgent = high;
  if
  :: call == AskUrgently || call == Urge -> wishes = wishes | BIT(client)
  :: else -> wishes = wishes & ~BIT(client)
  fi
#else
  skip
#endif
}

/* interestOfRequest(), joined(), left() and reprioritised() of src/domain/interests/interests.ts */
inline record_interest(client) {
  if
  :: event == JobRequested -> state = Queued; interest = BIT(client); promised = promised | BIT(client)
  :: event == JobJoined -> interest = interest | BIT(client); promised = promised | BIT(client)
  :: event == JobUpdated -> skip
  :: event == JobLeft || event == JobLeftAndCancelled -> interest = interest & ~BIT(client); promised = promised & ~BIT(client)
  :: event == JobCancelled -> promised = promised & ~BIT(client)
  fi;
  if
#ifndef TWO_APPENDS
  :: event == JobLeftAndCancelled && !FINISHED -> state = Cancelled
#endif
  :: event == JobCancelled && !FINISHED -> state = Cancelled
  :: else -> skip
  fi;
  record_priority(client);
  appended()
}

proctype client(byte me) {
  byte calls = 0; /* those that changed something */
  mtype call = Ask;
  mtype event = Nothing;
  bool high = false;
  do
  :: atomic {
       calls < CALLS && event == Nothing ->
       if
       :: call = Ask
       :: call = Withdraw
#ifdef PRIORITIES
       :: call = AskUrgently
       :: call = Calm
       :: call = Urge
#endif
#ifdef OUTRIGHT
       :: call = ForEveryone
#endif
       fi;
again: skip;
#ifdef STALE_POLL
       if :: seen = interest :: skip fi;
#endif
       d_step {
         read(me);
         if
         :: call == Ask || call == AskUrgently -> decide_ask(me)
         :: call == Withdraw -> decide_withdraw(me)
         :: call == ForEveryone -> decide_for_everyone(me)
         :: call == Calm || call == Urge -> /* updated() of src/domain/job.ts */
            if :: UNFINISHED && MINE(me) -> event = JobUpdated :: else -> skip fi
         fi;
         decide_priority(me);
         if :: event == Nothing -> unread(me); call = Ask :: else -> skip fi
       }
     }
  :: atomic {
       event != Nothing ->
       if
       :: d_step {
            UNCHANGED(me) ->
#ifdef OUTRIGHT
            if :: event == JobRequested -> owner = me :: else -> skip fi;
#endif
#ifdef REPEATS
            if
            :: me == 0 && (event == JobRequested || event == JobJoined) -> joins++
            :: me == 0 && (event == JobLeft || event == JobLeftAndCancelled) && joins == 1 -> withdrew = true
            :: else -> skip
            fi;
#endif
            record_interest(me);
            calls++;
            event = Nothing; call = Ask; high = false
          }
       :: else -> event = Nothing; high = false; goto again
       fi
     }
  :: calls == CALLS -> break
  od
}

#ifdef LIMITS
/* The limit of the queue of client 0 is over, at some time: its interest ends, unless the job has been run. watchQueueLimits() and end()
 * of src/jobs/running/queue-limits.ts, leave() of src/domain/interests/decide-interests.ts */
proctype limit(byte me) {
  mtype call = Ask;
  mtype event = Nothing;
  bool high = false;
  do
  :: atomic {
       event == Nothing && MINE(0) ->
again: skip;
       d_step {
         read(me);
#ifdef LIMIT_RUNNING
         decide_withdraw(0);
#else
         if :: state == Queued && attempt == 0 -> decide_withdraw(0) :: else -> skip fi;
#endif
         decide_priority(0);
         if :: event == Nothing -> unread(me) :: else -> skip fi
       }
     }
  :: atomic {
       event != Nothing ->
       if
       :: d_step {
            UNCHANGED(me) ->
            assert(attempt == 0); /* it ends what waits to be run, never what was */
            record_interest(0);
            event = Nothing; high = false
          };
          break
       :: else -> event = Nothing; high = false; goto again
       fi
     }
  od
}
#endif

#ifdef REPEATS
/* The withdrawal of the first interest of client 0, which arrives again at any time after it was carried out: a call sent twice. */
proctype repeated(byte me) {
  mtype call = Ask;
  mtype event = Nothing;
  bool high = false;
  withdrew;
  do
  :: atomic {
       event == Nothing && MINE(0) ->
again: skip;
       d_step {
         read(me);
#ifdef NO_INTEREST_ID
         decide_withdraw(0);
#else
         if :: joins == 1 -> decide_withdraw(0) :: else -> skip fi;
#endif
         decide_priority(0);
         if :: event == Nothing -> unread(me) :: else -> skip fi
       }
     }
  :: atomic {
       event != Nothing ->
       if
       :: d_step {
            UNCHANGED(me) ->
            assert(joins == 1); /* what ends is the interest that it names */
            record_interest(0);
            event = Nothing; high = false
          };
          break
       :: else -> event = Nothing; high = false; goto again
       fi
     }
  od
}
#endif
