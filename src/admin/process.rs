//! What the system reports about this process: procfs (proc(5)), clocks and limits.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The values; `None` if the system does not provide one.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// Processor time of all threads.
    pub cpu: Option<Duration>,
    /// Resident memory in bytes.
    pub resident: Option<u64>,
    /// Open descriptors.
    pub open: Option<u64>,
    /// Limit of open descriptors.
    pub most_open: Option<u64>,
}

impl Process {
    /// Asks the system. This takes some milliseconds if many descriptors are open and the kernel is older than 6.2.
    pub fn read() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            cpu: u64::try_from(cpu.tv_sec)
                .ok()
                .zip(u32::try_from(cpu.tv_nsec).ok())
                .map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds)),
            resident: resident(),
            open: open(),
            most_open: getrlimit(Resource::Nofile).current,
        }
    }
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn open() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    // Since Linux 6.2 the size is the number of descriptors; before, it is 0.
    match fs::metadata(FOLDER).ok()?.len() {
        // Does not count the descriptor that is open for reading the folder.
        0 => Some((fs::read_dir(FOLDER).ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_all_of_it() {
        let before = Process::read();
        let held: Vec<_> = (0..50)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        let after = Process::read();
        assert!(after.open.unwrap() >= held.len() as u64);
        assert!(after.open.unwrap() <= after.most_open.unwrap());
        assert!(after.resident.unwrap() > 100_000);
        assert!(after.cpu.unwrap() >= before.cpu.unwrap() && !after.cpu.unwrap().is_zero());
    }
}
