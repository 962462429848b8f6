/* One job: those who want it and those who run it, at the same time. The instances of scripts/model.js say how many of each there are
 * and what they may do. */

#ifndef CLIENTS
#define CLIENTS 2
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef WATCHES
#define WATCHES 1
#endif
#ifndef CALLS
#define CALLS 2      /* calls of each client */
#endif
#ifndef CLAIMS
#define CLAIMS 2     /* claims of each worker */
#endif
#ifndef BEATS
#define BEATS 1      /* heartbeats of each worker that tell anything */
#endif
#ifndef SWEEPS
#define SWEEPS 2     /* leases that each watch sees run out */
#endif
#ifndef RETRY_LOST
#define RETRY_LOST 1
#endif
#ifndef RETRY_FAILED
#define RETRY_FAILED 0
#endif

#ifndef FAULTS
#define FAULTS false  /* whether scripts fail */
#endif

#include "stream.pml"
#include "interests.pml"
#include "attempts.pml"

init {
  atomic {
    run client(0);
#if CLIENTS > 1
    run client(1);
#endif
#if CLIENTS > 2
    run client(2);
#endif
#if WORKERS > 0
    run worker(0);
#endif
#if WORKERS > 1
    run worker(1);
#endif
    run watch(0);
#if WATCHES > 1
    run watch(1);
#endif
#ifdef LIMITS
    run limit(CLIENTS + WORKERS + WATCHES);
#endif
#ifdef REPEATS
    run repeated(CLIENTS + WORKERS + WATCHES + 1);
#endif
#ifdef HEARTS
    run heart(CLIENTS + WORKERS + WATCHES + 2);
#endif
  }
}
