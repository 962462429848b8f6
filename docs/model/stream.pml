/* The stream of one job, and how every call changes it: the stream is read to its end, a pure function decides which event that makes,
 * and the event is appended at the revision that was read. If something was appended since, all of it is done again.
 *   attempt() of src/jobs/job-streams.ts, again by decidedAgain() of src/jobs/contention.ts
 *   decide() of src/domain/job.ts, evolve() of src/domain/evolve.ts
 * The names of functions are checked: each stands in the file that is named behind it.
 *
 * Everybody who calls has a number, and his bit in `fresh` tells that nothing was appended since he read. That is all that an expected
 * revision can tell, and takes far fewer states than a revision that counts. A call that changes nothing is over when it has read. */

mtype = { None, Queued, Running, Complete, Failed, Cancelled };

/* Events, as proto/memoir/events/v1/events.proto has them. JobAttemptEnded has three names here, by why the attempt ended.
 * JobLeftAndCancelled is one append of two events; Nothing is that of a call that changes nothing. */
mtype = {
  Nothing, JobRequested, JobJoined, JobLeft, JobLeftAndCancelled, JobCancelled, JobUpdated,
  JobStarted, JobProgressed, JobResumed, EndedLost, EndedGivenBack, EndedByScript, JobCompleted, JobFailed
};

mtype state = None;
byte interest = 0;   /* interests that stand: a bit for each client */
byte attempt = 0;    /* number of the newest attempt. It stands for its token too: a worker makes a new token for each claim */
bool lost = false;   /* the newest attempt ended as lost, and nobody claimed the job since */
byte losses = 0;     /* attempts that count as lost */
byte faults = 0;     /* attempts that ended by a fault of the script */

/* What people were told, and what happened: the model's own, for its assertions. */
byte promised = 0;   /* clients that were told "you wait for it", and neither withdrew nor ran out of time: a bit for each */
byte results = 0;    /* completions recorded */
byte expired = 0;    /* attempts that ended since their lease ran out, less those taken back */
bool given = false;  /* the newest attempt was given back by its worker */

#define FINISHED (state == Complete || state == Failed || state == Cancelled)
#define UNFINISHED (state == Queued || state == Running)

byte fresh = 0;

#ifdef NO_REVISION
#define UNCHANGED(caller) true
#else
#define UNCHANGED(caller) ((fresh >> (caller)) & 1)
#endif

inline read(caller) { fresh = fresh | (1 << (caller)) }

/* The call is over without an append. */
inline unread(caller) { fresh = fresh & ~(1 << (caller)) }

#ifdef PRIORITIES
byte wishes = 0;     /* clients that wish it urgent: a bit for each */
bool urgent = false; /* the priority of the job as its last event left it */
/* Its priority is the highest of those who wait for it. */
#define RIGHT_PRIORITY (!UNFINISHED || urgent == ((wishes & interest) != 0))
#else
#define RIGHT_PRIORITY true
#endif

/* What holds after every append and every promise. */
inline promises() {
  /* Nobody who was promised the job loses it but by its own end: it ran to a result, or failed. */
  assert((promised & ~interest) == 0 || state == Complete || state == Failed);
  assert(promised == 0 || state != Cancelled);
  /* A job that nobody wants any more does not go on. */
  assert(!UNFINISHED || interest != 0);
  assert(RIGHT_PRIORITY)
}

inline appended() {
  fresh = 0;
  promises()
}
