/* The runs of one computation. Who asks for it is answered with a run that there is, or makes the next one; a run that failed can be tried
 * again by hand. Each run is a job with a stream of its own, and its number is part of its uuid.
 *   findOrCreate() and createRun() of src/jobs/deciding/create-job.ts: it takes the number of the next run with the candidates, from a view that may be old,
 *   looks a chosen candidate up in its stream, and appends JobRequested to the stream of the next run, which must not exist yet.
 *   retryOnce(), answerWith() and carriedOut() of src/jobs/deciding/retry-job.ts: a retry by hand is answered with another run as a request is, and else
 *   first records in a stream of its own which run it is going to be, so that one that is sent again finds it. */

#define RUNS 5

mtype = { None, Unfinished, Complete, Failed };

mtype state[RUNS] = None;  /* of run n at n - 1 */
byte runs = 0;             /* how many there are */
byte intended = 0;         /* the run that the stream of the retries of run 1 names, 0 while that does not exist */
byte retry = 0;            /* the run that was made to try run 1 again, 0 for none */

#define LIVE(n) (state[n] == Unfinished || state[n] == Complete)
#define OPEN(n) (state[n] == Unfinished)

/* Whether the stream of a run does not exist yet. */
#ifdef NO_STREAM
#define ABSENT(number) true
#else
#define ABSENT(number) (runs < (number))
#endif

/* The append of JobRequested. */
inline made(number) {
  runs++;
  assert(runs == number);                  /* no uuid names two jobs, and no number is left out */
  state[number - 1] = Unfinished;
  assert(OPEN(0) + OPEN(1) + OPEN(2) + OPEN(3) + OPEN(4) <= 1) /* the same work is not done twice at the same time */
}

/* How many runs a server knows of: all, or all but the last, which another server made a moment ago. */
inline look() {
  if
  :: known = runs
  :: runs > 1 && !caught_up -> known = runs - 1
  fi
}

/* Whether one of the runs that are known answers. Each is looked up in its stream. */
#define ANSWERED ((known > 0 && LIVE(0)) || (known > 1 && LIVE(1)) || (known > 2 && LIVE(2)) || (known > 3 && LIVE(3)) || (known > 4 && LIVE(4)))

proctype ask() {
  byte known = 0;
  byte number = 0;
  bool caught_up = false;
  do
  :: atomic {
       look();
       number = known + 1;
       if :: ANSWERED -> break :: else -> skip fi
     }
     atomic {
#ifdef LATE_NUMBER
       number = runs + 1;
#endif
       if
       :: ABSENT(number) -> d_step { made(number) }; break
       :: else -> caught_up = true         /* another server was first: catch up, and decide again */
       fi
     }
  od
}

proctype try_again() {
  byte known = 0;
  byte number = 0;
  byte named = 0;
  bool caught_up = false;
  do
  :: atomic {
       named = intended;
#ifndef NO_RETRY_STREAM
       if :: retry != 0 && retry == named -> break :: else -> skip fi
#endif
     }
     atomic {
       look();
       number = known + 1;
#ifdef RETRY_ALONE
       skip
#else
       if :: ANSWERED -> break :: else -> skip fi /* it is being tried again already, or was with success */
#endif
     }
     atomic {
       if
#ifdef NO_RETRY_STREAM
       :: true -> skip
#else
       :: retry != 0 && retry == named -> break                              /* what was intended is there */
       :: named == 0 && intended == 0 -> intended = number
       :: named != 0 && named == intended && runs < named -> number = named  /* somebody began it, and did not get further */
       :: named != 0 && named == intended && runs >= named && retry != named ->
          intended = number                                                  /* that run became another's: a second intention */
       :: else -> named = 0; number = 0                                      /* somebody else was first */
#endif
       fi
     }
     atomic {
       if
       :: number != 0 && ABSENT(number) ->
          d_step { assert(retry == 0); retry = number; made(number) };       /* it is tried again once, however often that is asked for */
          break
       :: else -> caught_up = true
       fi
     }
  od
}

/* Runs end. */
proctype end() {
  byte n = 0;
  do
  :: atomic {
       if
       :: OPEN(0) -> n = 0
       :: OPEN(1) -> n = 1
       :: OPEN(2) -> n = 2
       :: OPEN(3) -> n = 3
       :: OPEN(4) -> n = 4
       fi;
       if :: state[n] = Failed :: state[n] = Complete fi
     }
  od
}

init {
  atomic {
    runs = 1; state[0] = Failed;
    run ask(); run ask(); run try_again(); run try_again(); run end()
  }
}
