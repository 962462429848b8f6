//! SHA-1 with detection of collision attacks, as git has it, for JavaScript. What is hashed is put where `input` says, at most `room`
//! bytes at a time; `add` takes them, `finish` takes the last ones, puts the hash where `output` says, and begins anew.
//!
//! One instance hashes one thing at a time, in one thread.

#![no_std]

use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use sha1_checked::{Digest, Sha1};

const ROOM: usize = 64 * 1024;

/// What one thread alone gets at: a module of WebAssembly without shared memory has no other.
struct Single<T>(UnsafeCell<T>);

unsafe impl<T> Sync for Single<T> {}

static INPUT: Single<[u8; ROOM]> = Single(UnsafeCell::new([0; ROOM]));
static OUTPUT: Single<[u8; 20]> = Single(UnsafeCell::new([0; 20]));
static RUNNING: Single<Option<Sha1>> = Single(UnsafeCell::new(None));

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

#[no_mangle]
pub extern "C" fn input() -> *mut u8 {
    INPUT.0.get().cast()
}

#[no_mangle]
pub extern "C" fn room() -> usize {
    ROOM
}

#[no_mangle]
pub extern "C" fn output() -> *const u8 {
    OUTPUT.0.get().cast()
}

/// Takes the first bytes of the input. More than there is room for is a trap.
#[no_mangle]
pub extern "C" fn add(length: usize) {
    // SAFETY: nothing else runs, and the caller writes there between calls alone.
    let (running, input) = unsafe { (&mut *RUNNING.0.get(), &*INPUT.0.get()) };
    running
        .get_or_insert_with(git_settings)
        .update(&input[..length]);
}

/// Takes the first bytes of the input as the last ones. Gives 1 if what was hashed has blocks of a collision attack, else 0.
#[no_mangle]
pub extern "C" fn finish(length: usize) -> u32 {
    add(length);
    // SAFETY: as above.
    let (running, output) = unsafe { (&mut *RUNNING.0.get(), &mut *OUTPUT.0.get()) };
    let result = running.take().unwrap_or_else(git_settings).try_finalize();
    output.copy_from_slice(result.hash());
    result.has_collision().into()
}

/// git's own: the hash is SHA-1's even of an attack, and attacks on less than all of its rounds do not count.
fn git_settings() -> Sha1 {
    Sha1::builder().safe_hash(false).build()
}
