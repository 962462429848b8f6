/** Has this process, its threads, and what they run make files for their owner alone, whatever the shell that started it says. */
export function privateFromNow(): void {
  process.umask(process.umask(0o077) | 0o077);
}
