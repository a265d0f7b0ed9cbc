//! Programs that hear their interrupt, however this process was started.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Gives the programs that are started from now on SIGINT's default action.
///
/// What a script starts with `&` ignores SIGINT, and so does everything below it: execve(2) keeps an ignored signal
/// ignored, and no shell can trap it again. A signal with a handler it resets to the default. So where this process
/// ignores SIGINT it gets a handler instead, which stays when its receiver is dropped: this process goes on as before.
pub(super) fn reset_for_programs() -> io::Result<()> {
    if is_ignored(&std::fs::read_to_string("/proc/self/status")?) {
        drop(signal(SignalKind::interrupt())?);
    }
    Ok(())
}

/// Whether a process ignores SIGINT, by its `status` file (proc(5)): a mask in hexadecimal, signal 1 is the lowest bit.
fn is_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & (1 << (SignalKind::interrupt().as_raw_value() - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert!(is_ignored("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001006\nSigCgt:\t0000000000000000\n"));
        assert!(!is_ignored("SigBlk:\t0000000000000002\nSigIgn:\t0000000000001004\nSigCgt:\t0000000000000002\n"));
        assert!(!is_ignored(""));
    }
}
