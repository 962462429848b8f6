/* A claim that is sent again, since its answer was lost: to the same server, or to another one that may not know of it yet. There are two
 * jobs, so that a second claim could take a second one; a worker with one token, another worker, and a lease that runs out.
 *   claimNext(), seeClaims(), standing() and takeFirst() of src/jobs/running/claim-job.ts: it reads to the end of the log, looks for the
 *   attempt that the token began, and takes a job of the queue; claims with one token wait for each other at one server.
 *
 * A worker sends its claim to another server when the first one has carried it out or never will. -DOVERLAP lets a slow server carry it
 * out beside the other: see "What does not hold" in README.md. */

#define JOBS 2
#define SERVERS 2
#define CLAIMS 2           /* how often the claim is sent */
#define TOKEN 1            /* of the worker that sends it; the other worker has another one */

mtype = { Queued, Running };

mtype state[JOBS] = Queued;
byte token[JOBS];          /* of the newest attempt, 0 for none */
byte begun[JOBS];          /* attempts that TOKEN began */
byte fresh[JOBS];          /* as in stream.pml */

bool knows[4];             /* whether a server knows that TOKEN began an attempt of the job: it has come by it in the log, or gave it */
bool turn[SERVERS];        /* whether a claim with TOKEN is being carried out there, and others wait */
byte busy[SERVERS];        /* claims with TOKEN that a server has at hand */

#define KNOWS(server, job) knows[(server) * JOBS + (job)]
#define HOLDS(job) (state[job] == Running && token[job] == TOKEN)

#ifdef NO_REVISION
#define UNCHANGED(job, caller) true
#else
#define UNCHANGED(job, caller) ((fresh[job] >> (caller)) & 1)
#endif

/* usedToken() of src/domain/attempt.ts: a token whose attempt has ended begins no other. */
#ifdef NO_USED_TOKEN
#define UNUSED(job) true
#else
#define UNUSED(job) (token[job] != TOKEN)
#endif

/* The append of JobStarted: start() of src/jobs/running/claim-job.ts. */
inline start(job, by) {
  assert(state[job] == Queued);         /* one at a time runs it */
  state[job] = Running; token[job] = by; fresh[job] = 0;
  if :: by == TOKEN -> begun[job]++ :: else -> skip fi;
  assert(begun[job] <= 1);              /* a token names one attempt of a job */
  assert(!(HOLDS(0) && HOLDS(1)))       /* and holds one job */
}

proctype claim(byte me) {
  byte server = 0;
  byte job = 0;
  bool found = false;
  atomic {
    if
#ifdef OVERLAP
    :: server = 0
    :: server = 1
#else
    :: busy[1] == 0 -> server = 0
    :: busy[0] == 0 -> server = 1
#endif
    fi;
    busy[server]++
  }
#ifndef NO_CATCH_UP
  d_step { /* seeClaims() of src/jobs/running/claim-job.ts */
    KNOWS(server, 0) = KNOWS(server, 0) || token[0] == TOKEN;
    KNOWS(server, 1) = KNOWS(server, 1) || token[1] == TOKEN
  }
#endif
#ifndef NO_TURNS
  atomic { !turn[server] -> turn[server] = true } /* keyedLock() of src/jobs/keyed-lock.ts */
#endif
  found = (KNOWS(server, 0) && HOLDS(0)) || (KNOWS(server, 1) && HOLDS(1)); /* standing() of src/jobs/running/claim-job.ts */
  do /* takeFirst() of src/jobs/running/claim-job.ts: of what this server has queued, by a view that may be old, it reads the stream */
  :: found -> break
  :: atomic {
       !found ->
       if :: job = 0 :: job = 1 fi;
       if
       :: state[job] == Queued && UNUSED(job) -> fresh[job] = fresh[job] | (1 << me)
       :: HOLDS(job) -> found = true    /* isSameClaim() of src/domain/attempt.ts */
       :: else -> found = true          /* another worker was first, or the token is used up: none for this claim */
       fi
     }
     atomic {
       if
       :: !found && UNCHANGED(job, me) -> d_step { start(job, TOKEN); KNOWS(server, job) = true; found = true }
       :: else -> skip
       fi
     }
  od;
  skip;
  d_step { busy[server]--; turn[server] = false; server = 0; job = 0; found = false }
}

/* Another worker takes a job. */
proctype other() {
  byte job = 0;
  do
  :: atomic {
       if :: state[0] == Queued -> job = 0 :: state[1] == Queued -> job = 1 fi;
       fresh[job] = fresh[job] | (1 << CLAIMS)
     }
     atomic {
       if
       :: UNCHANGED(job, CLAIMS) -> d_step { start(job, 2) }; break
       :: else -> skip
       fi
     }
  od
}

/* A lease runs out. */
proctype watch() {
  byte job = 0;
  atomic {
    if :: state[0] == Running -> job = 0 :: state[1] == Running -> job = 1 fi;
    state[job] = Queued; fresh[job] = 0
  }
}

init { atomic { run claim(0); run claim(1); run other(); run watch() } }
