//! Puts programs on a processor of their own, and reads from the scheduler how long they used it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Failure;
use crate::process::family;

/// How far the two accounts of the kernel may differ: one counts in ticks, of which up to two are lost in each reading.
const TOLERANCE: Duration = Duration::from_millis(50);

/// The two processors of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Processors {
    /// For the proxy alone.
    pub proxy: usize,
    /// For everything else.
    pub load: usize,
}

impl Processors {
    /// The two that were asked for, or the last and the first that this process may use.
    ///
    /// # Errors
    /// If there are fewer than two.
    pub fn choose(asked: &[usize]) -> Result<Self, Failure> {
        let allowed = sched_getaffinity(None)?;
        let allowed: Vec<_> = (0..CpuSet::MAX_CPU)
            .filter(|cpu| allowed.is_set(*cpu))
            .collect();
        let (proxy, load) = match (asked, allowed.as_slice()) {
            ([proxy, load], _) => (*proxy, *load),
            ([], [load, .., proxy]) => (*proxy, *load),
            ([], _) => return Err("two processors are needed".into()),
            _ => return Err("--cores needs two numbers: of the proxy, and of the rest".into()),
        };
        if proxy == load {
            return Err("the proxy needs a processor of its own".into());
        }
        Ok(Self { proxy, load })
    }
}

/// Waits until no other measurement of this machine runs, which would use the same processors. Others wait while the file
/// that it returns is open.
///
/// # Errors
/// If the file can't be locked.
pub fn alone() -> Result<File, Failure> {
    let name = std::env::temp_dir().join("wsgate-bench.lock");
    // Another user's file can be opened, but not created once more.
    let file = File::open(&name).or_else(|_| File::create(&name));
    let file = file.map_err(|error| format!("{}: {error}", name.display()))?;
    if file.try_lock().is_err() {
        eprintln!("wsgate-bench: waiting for another measurement to end");
        file.lock()?;
    }
    Ok(file)
}

/// Keeps this thread, and every process that it starts from now on, on one processor.
///
/// # Errors
/// If there is no such processor.
pub fn stay_on(processor: usize) -> Result<(), Failure> {
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only).map_err(|error| format!("processor {processor}: {error}").into())
}

/// What a process and its descendants have used since they started.
#[derive(Debug)]
pub struct Usage {
    /// By process and thread.
    threads: BTreeMap<(u32, u32), Scheduled>,
    /// By process, with the threads that have ended; exact to a tick.
    processes: BTreeMap<u32, Duration>,
}

/// The account of one thread (`/proc/PID/task/TID/schedstat`).
#[derive(Clone, Copy, Debug, Default)]
struct Scheduled {
    ran: Duration,
    waited: Duration,
}

/// What was used between two readings.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// The time on a processor, of all threads.
    pub ran: Duration,
    /// The time in which a thread could have run, but others did.
    pub waited: Duration,
}

impl Usage {
    /// Takes a reading of `root` and its descendants.
    ///
    /// # Errors
    /// If one of them is gone, or the kernel does not report it.
    pub fn take(root: u32) -> Result<Self, Failure> {
        let mut usage = Self {
            threads: BTreeMap::new(),
            processes: BTreeMap::new(),
        };
        for process in family(root)? {
            usage.processes.insert(process, ticks(process)?);
            for task in fs::read_dir(format!("/proc/{process}/task"))? {
                let task = task?;
                // A thread that ends right now is missed here, and found by comparing with the process.
                let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else {
                    continue;
                };
                let mut numbers = text.split_whitespace().map(str::parse);
                let (Some(Ok(ran)), Some(Ok(waited))) = (numbers.next(), numbers.next()) else {
                    return Err(format!("{}: no schedstat", task.path().display()).into());
                };
                let thread = task.file_name().to_string_lossy().parse()?;
                let scheduled = Scheduled {
                    ran: Duration::from_nanos(ran),
                    waited: Duration::from_nanos(waited),
                };
                usage.threads.insert((process, thread), scheduled);
            }
        }
        Ok(usage)
    }

    /// What was used from `earlier` to this reading.
    ///
    /// # Errors
    /// If a process ended, or a thread whose time is lost.
    pub fn since(&self, earlier: &Self) -> Result<Spent, Failure> {
        let mut spent = Spent {
            ran: Duration::ZERO,
            waited: Duration::ZERO,
        };
        for (thread, now) in &self.threads {
            let before = earlier.threads.get(thread).copied().unwrap_or_default();
            spent.ran += now.ran.saturating_sub(before.ran);
            spent.waited += now.waited.saturating_sub(before.waited);
        }
        let mut ended = earlier.processes.keys();
        if let Some(gone) = ended.find(|id| !self.processes.contains_key(id)) {
            return Err(format!("process {gone} of the proxy ended").into());
        }
        let whole = self.processes_since(earlier);
        if whole.abs_diff(spent.ran) > TOLERANCE + whole / 50 {
            return Err(format!(
                "the proxy's threads ran for {:?}, but its processes for {whole:?}: threads that ended are missing",
                spent.ran
            )
            .into());
        }
        Ok(spent)
    }

    /// How long the processes ran from `earlier` to this reading, exact to some ticks, with threads that have ended.
    pub fn processes_since(&self, earlier: &Self) -> Duration {
        let of = |(process, now): (&u32, &Duration)| {
            let before = earlier.processes.get(process).copied();
            now.saturating_sub(before.unwrap_or_default())
        };
        self.processes.iter().map(of).sum()
    }
}

/// The user and system time of a process, with its threads that have ended (`/proc/PID/stat`).
fn ticks(process: u32) -> Result<Duration, Failure> {
    let file = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    // The name in parentheses may contain anything. utime and stime are the fields 14 and 15, and the one after it is 3.
    let after = text.rsplit(')').next().unwrap_or_default();
    let times = after.split_whitespace().skip(11).take(2);
    let times = times.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [user, system] = times.as_slice() else {
        return Err(format!("{file} has no times").into());
    };
    Ok(Duration::from_secs(user + system) / u32::try_from(clock_ticks_per_second())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(threads: &[(u32, u64)], whole: u64) -> Usage {
        let scheduled = |ran: u64| Scheduled {
            ran: Duration::from_millis(ran),
            waited: Duration::ZERO,
        };
        Usage {
            threads: threads
                .iter()
                .map(|(id, ran)| ((1, *id), scheduled(*ran)))
                .collect(),
            processes: BTreeMap::from([(1, Duration::from_millis(whole))]),
        }
    }

    #[test]
    fn threads_that_start_count_from_their_start() {
        let spent = usage(&[(1, 500), (2, 700)], 1200)
            .since(&usage(&[(1, 100)], 100))
            .unwrap();
        assert_eq!(spent.ran, Duration::from_millis(1100));
    }

    #[test]
    fn time_of_a_thread_that_ended_is_an_error() {
        let before = usage(&[(1, 100), (2, 100)], 200);
        assert!(usage(&[(1, 600)], 1200).since(&before).is_err());
        // It did nothing before it ended.
        assert!(usage(&[(1, 600)], 700).since(&before).is_ok());
    }

    #[test]
    fn this_process_has_threads() {
        let usage = Usage::take(std::process::id()).unwrap();
        assert!(!usage.threads.is_empty());
    }
}
